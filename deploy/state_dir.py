"""The supervisor's folder: the lock that keeps it alone, what `down` needs to know, logs and data."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

# Unix socket paths end at 107 bytes; Ray appends this to the folder it is given.
_RUN_DIR_CHARS_MAX = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")


@dataclass(frozen=True, slots=True)
class RunState:
    """One run, as written to `state.json`.

    Attributes:
        pid: the supervisor's.
        run_id: marks every process of the run (environment variable LLAVA_PLUS_RUN_ID).
        address: base URL of the gateway.
        run_dir: sockets, and Ray's own logs.
        started: seconds since the epoch.
        ready_s: seconds from start to ready, once it is.
    """

    pid: int
    run_id: str
    address: str
    profile: str
    started: float
    run_dir: str = ""
    phase: Literal["loading", "ready", "stopping"] = "loading"
    ready_s: float | None = None
    ray_address: str | None = None


class AlreadyRunning(Exception):
    """Another supervisor holds the lock."""


class StateDir:
    """Paths and files below one private folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def redis_data(self) -> Path:
        return self.root / "redis"

    @property
    def token_file(self) -> Path:
        """Ray's authentication token: whoever reads it may run code in the cluster."""
        return self.root / "ray_token"

    @property
    def up_log(self) -> Path:
        return self.logs / "up.log"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def create(self) -> None:
        """Make the folders, for this user only."""
        for folder in (self.root, self.logs, self.redis_data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)

    def ray_logs(self, run_dir: Path) -> Path:
        """Where Ray's own logs of a run are found once it has stopped."""
        return run_dir if run_dir.parent == self.root else self.logs / "ray"

    def rotate_logs(self) -> None:
        """Begin new logs; those of the run before stay as `NAME.log.1`. The caller holds the lock."""
        for log in self.logs.glob("*.log"):
            if log != self.up_log:
                log.replace(f"{log}.1")

    def run_dir(self) -> Path:
        """A private folder short enough for unix sockets: inside the state folder if that is short enough."""
        inside = self.root / "run"
        if len(os.fsencode(inside)) > _RUN_DIR_CHARS_MAX:
            return Path(tempfile.mkdtemp(prefix="lp-"))
        inside.mkdir(mode=0o700, exist_ok=True)
        return inside

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold `up.lock`; the kernel lets go of it however this process ends.

        Raises:
            AlreadyRunning: another process holds it.
        """
        with (self.root / "up.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AlreadyRunning from None
            yield

    def locked(self) -> bool:
        """Whether a supervisor is alive."""
        if not self.root.is_dir():
            return False
        try:
            with self.lock():
                return False
        except AlreadyRunning:
            return True

    def read(self) -> RunState | None:
        """The run that is written down, or None (also for a file that another version wrote)."""
        try:
            return RunState(**json.loads((self.root / "state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, state: RunState) -> RunState:
        write_private(self.root / "state.json", json.dumps(asdict(state), indent=1))
        return state

    def update(self, **changes: object) -> RunState:
        state = self.read()
        if state is None:
            raise FileNotFoundError("state.json")
        return self.write(replace(state, **changes))  # type: ignore[arg-type]

    def forget(self) -> None:
        """Drop the run, and its folder of sockets where that is not inside this one; Ray's logs of it are kept."""
        run = self.read()
        if run is not None and run.run_dir and Path(run.run_dir).parent != self.root:
            self._keep_ray_logs(Path(run.run_dir))
            shutil.rmtree(run.run_dir, ignore_errors=True)
        (self.root / "state.json").unlink(missing_ok=True)

    def _keep_ray_logs(self, run_dir: Path) -> None:
        """Copy them out of a folder that will be removed; they replace those of the run before."""
        kept = self.ray_logs(run_dir)
        shutil.rmtree(kept, ignore_errors=True)
        for logs in run_dir.glob("session_2*/logs"):  # not session_latest, which is a link to one of them
            with contextlib.suppress(OSError):  # a full disk must not keep a run from being dropped
                shutil.copytree(logs, kept / logs.parent.name, symlinks=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)
