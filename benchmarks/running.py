"""Starts and stops what benchmarks measure: the platform through its own command line, on free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
START_DEADLINE_S = 600


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def platform(profile: str, **environment: str) -> Iterator[tuple[str, Path]]:
    """Run `llava-plus up` on a free port with a state of its own; yields its address and state folder."""
    state = Path(tempfile.mkdtemp(prefix="lp-"))
    command = [sys.executable, "-m", "deploy.cli.main"]
    env = os.environ | {"LLAVA_PLUS_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)} | environment
    port = free_port()
    up = [*command, "up", "--profile", profile, "--port", str(port), "--detach"]
    try:
        subprocess.run(up, check=True, env=env, cwd=ROOT, timeout=START_DEADLINE_S, stdout=sys.stderr)
        yield f"http://127.0.0.1:{port}", state
    finally:
        subprocess.run([*command, "down"], check=True, env=env, cwd=ROOT, timeout=120, stdout=sys.stderr)
        shutil.rmtree(state, ignore_errors=True)
