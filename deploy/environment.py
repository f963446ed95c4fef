"""Environment variables of every process that the supervisor starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from deploy.confine import CONFINED
from deploy.processes import RUN_ID

# More threads than this slow small models down.
_THREADS_MAX = 8

# Serve's flags must be the same on both sides of a handle.
_FIXED = {
    CONFINED: "1",
    "RAY_AUTH_MODE": "token",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Idle workers that wait for a first task: 150 MB each, for nothing.
    "RAY_prestart_worker_first_driver": "0",
    # Ray's default of 15 starves replicas wherever anything else wants the processor.
    "RAY_worker_niceness": "0",
    # Ray's own metric ports: any free one, so that two Rays do not meet.
    "AUTOSCALER_METRIC_PORT": "0",
    "DASHBOARD_METRIC_PORT": "0",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_NO_USAGE_STATS": "1",
    # Keeps setproctitle from overwriting the environment, by which `down` knows the processes.
    "SPT_NOENV": "1",
    "PYTHONUNBUFFERED": "1",
}


def child_environment(
    base: Mapping[str, str],
    *,
    run_id: str,
    redis_url: str,
    profile: Path,
    token_file: Path,
    extra: Mapping[str, str],
) -> dict[str, str]:
    """What children inherit: the caller's variables, less those that would lead to another Ray, and ours.

    Args:
        base: usually `os.environ`.
        profile: its YAML file.
        extra: the profile's own variables; they win.
    """
    threads = str(min(os.cpu_count() or 1, _THREADS_MAX))
    inherited = {name: value for name, value in base.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
    ours = {
        RUN_ID: run_id,
        "LLAVA_PLUS_REDIS_URL": redis_url,
        "LLAVA_PLUS_PROFILE": str(profile),
        "RAY_AUTH_TOKEN_PATH": str(token_file),
    }
    return {"OMP_NUM_THREADS": threads} | inherited | _FIXED | ours | dict(extra)
