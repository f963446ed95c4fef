"""The whole platform, started once through its own command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import free_port

ROOT = Path(__file__).parent.parent.parent
PHOTOS = ROOT.parent / "shared" / "photos"
START_DEADLINE_S = 600.0
PROFILE = os.environ.get("LLAVA_PLUS_E2E_PROFILE", "embedded")
"""Another one may be named to try its checkpoints."""


@dataclass(frozen=True)
class Stack:
    """A running platform."""

    address: str
    state: Path
    environment: dict[str, str]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=180.0, trust_env=False)


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """`llava-plus up` with the profile on a free port, with a state folder of its own."""
    pytest.importorskip("vllm", reason="the planner is hosted by vLLM: run `make test`, which installs it")
    # Ray's sockets need a short path, which pytest's own temporary folders do not have.
    state = Path(tempfile.mkdtemp(prefix="lp-e2e-"))
    environment = {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
    environment["LLAVA_PLUS_STATE_DIR"] = str(state)
    command = [sys.executable, "-m", "deploy.cli.main"]
    port = free_port()
    try:
        up = [*command, "up", "--profile", PROFILE, "--port", str(port), "--detach"]
        started = subprocess.run(
            up, env=environment, cwd=ROOT, timeout=START_DEADLINE_S, capture_output=True, text=True, check=False
        )
        assert started.returncode == 0, started.stdout + started.stderr
        yield Stack(f"http://127.0.0.1:{port}", state, environment)
    finally:
        subprocess.run([*command, "down"], env=environment, cwd=ROOT, timeout=120, check=True)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def poster() -> bytes:
    path = PHOTOS / "poster.png"
    if not path.is_file():
        pytest.skip("the real pictures are kept outside the project, and this checkout has none beside it")
    return path.read_bytes()
