"""How the `llava-plus` command is typed on this machine."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def typed(subcommand: str) -> str:
    """`llava-plus SUBCOMMAND`, with the command's whole path where the shell would not find it."""
    beside = Path(sys.executable).with_name("llava-plus")
    if shutil.which("llava-plus") or not beside.is_file():
        return f"llava-plus {subcommand}"
    return f"{shlex.quote(str(beside))} {subcommand}"
