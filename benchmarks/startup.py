"""Seconds from `llava-plus up` to ready, and the memory of all its processes: `python -m benchmarks.startup`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from deploy.processes import ProcessMemory, memory_of_run, of_run
from deploy.state_dir import RunState, StateDir

RESULTS = Path(__file__).parent / "results" / "startup.json"
SECONDS_MAX = 120.0
GB_MAX = 7.0
CHAT = {"messages": [{"role": "user", "content": "What can you do?"}]}
CHAT_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.1


def main() -> int:
    """Measure one start.

    Returns:
        0 when time and memory are within the limits and nothing is left behind.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--deadline-s", type=float, default=400.0)
    parser.add_argument("--cold", action="store_true", help="with an empty cache: the planner's model is built too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lp-bench-") as folder:
        environment = os.environ | {"LLAVA_PLUS_STATE_DIR": f"{folder}/state"}
        if options.cold:
            environment["LLAVA_PLUS_CACHE_DIR"] = f"{folder}/cache"
        result = measure(options.profile, Path(folder) / "state", environment, options.deadline_s)
    result["cold"] = options.cold
    report(result)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    within = result["ready_s"] <= SECONDS_MAX and result["pss_gb"] <= GB_MAX
    return 0 if within and not result["left_behind"] else 1


def measure(profile: str, folder: Path, environment: dict[str, str], deadline_s: float) -> dict[str, Any]:
    port = free_port()
    state = StateDir(folder)
    load = os.getloadavg()[0]
    started = time.monotonic()
    command = [sys.executable, "-m", "deploy.cli.main", "up", "--profile", profile, "--port", str(port)]
    supervisor = subprocess.Popen(command, env=environment)
    try:
        run = wait_ready(state, supervisor, started + deadline_s)
        ready_s = time.monotonic() - started
        chat = chat_once(run.address)
        processes = [*memory_of_run(run.run_id), own_memory(supervisor.pid)]
    finally:
        stopped = time.monotonic()
        supervisor.terminate()
        supervisor.wait()
        stop_s = time.monotonic() - stopped
    return {
        "profile": profile,
        "ready_s": round(ready_s, 1),
        "stop_s": round(stop_s, 1),
        "pss_gb": round(sum(process.pss_bytes for process in processes) / 1e9, 2),
        "first_chat": chat,
        "processes": [
            {"name": short_name(process.name), "pss_mb": round(process.pss_bytes / 1e6)} for process in processes
        ],
        "left_behind": len(of_run(run.run_id)),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "python": platform.python_version(),
            "load_before": round(load, 1),
        },
    }


def wait_ready(state: StateDir, supervisor: subprocess.Popen[bytes], until: float) -> RunState:
    """Until `GET /readyz` answers 200.

    Raises:
        SystemExit: the start failed or took too long.
    """
    while time.monotonic() < until and supervisor.poll() is None:
        run = state.read()
        if run is not None:
            try:
                if httpx.get(f"{run.address}/readyz", timeout=2.0, trust_env=False).status_code == httpx.codes.OK:
                    return run
            except httpx.TransportError:
                pass
        time.sleep(_LOOK_EVERY_S)
    raise SystemExit("llava-plus up did not become ready")


def chat_once(address: str) -> dict[str, Any] | None:
    """One chat, so that lazily taken memory is counted. None where the profile has no planner."""
    started = time.monotonic()
    try:
        answer = httpx.post(f"{address}/v1/chat/completions", json=CHAT, timeout=CHAT_TIMEOUT_S, trust_env=False)
    except httpx.TransportError as error:
        return {"status": type(error).__name__, "seconds": round(time.monotonic() - started, 1)}
    return {"status": answer.status_code, "seconds": round(time.monotonic() - started, 1)}


def own_memory(pid: int) -> ProcessMemory:
    return ProcessMemory(pid, "llava-plus up", psutil.Process(pid).memory_full_info().pss)


def short_name(command: str) -> str:
    """A process' title without the folders of this machine."""
    words = [Path(word).name if "/" in word else word for word in command.split()]
    named = [word for word in words if not word.startswith("-") and word != "python"]
    return " ".join(named[:2]) if "=" not in named[0] else named[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def report(result: dict[str, Any]) -> None:
    print(f"\n{'process':<48}{'PSS, MB':>8}")
    for process in result["processes"]:
        print(f"{process['name'][:46]:<48}{process['pss_mb']:>8}")
    print(f"{'all':<48}{result['pss_gb'] * 1000:>8.0f}")
    print(f"\nready after {result['ready_s']} s (at most {SECONDS_MAX:.0f}), stopped after {result['stop_s']} s")
    print(f"memory {result['pss_gb']} GB (at most {GB_MAX:.0f}), first chat {result['first_chat']}")
    print(f"processes left behind: {result['left_behind']}")


if __name__ == "__main__":
    sys.exit(main())
