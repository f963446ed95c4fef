"""A second gateway on a running platform, with a planner of its own: skills, Redis and replicas are the first one's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.conftest import free_port

ROOT = Path(__file__).parents[1]


def gateway_process(address: str) -> psutil.Process:
    """The gateway that listens at `address`."""
    port = address.rsplit(":", 1)[1]
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if port in command and "--factory" in command:
            return process
    raise AssertionError("no gateway process found")


def wait_until_ready(client: httpx.Client, alive: Callable[[], bool] = lambda: True, deadline_s: float = 60.0) -> None:
    """Until the gateway says that it is ready, as long as it is alive."""
    give_up = time.monotonic() + deadline_s
    while alive() and time.monotonic() < give_up:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the gateway is not ready")


@contextmanager
def gateway_with_planner(address: str, planner: str, log: Path) -> Iterator[tuple[str, str]]:
    """Its URL, and where its gRPC is.

    Args:
        address: of the platform's first gateway, from which it has its settings.
        planner: base URL of an OpenAI-compatible endpoint.
    """
    port, grpc_port = free_port(), free_port()
    environment = gateway_process(address).environ() | {
        "LLAVA_PLUS_PLANNER_URL": planner,
        "LLAVA_PLUS_PLANNER_MODEL": "script",
        "LLAVA_PLUS_GRPC_PORT": str(grpc_port),
    }
    command = [sys.executable, "-m", "deploy.gateway_server", "--factory", "deploy.gateway:create_app"]
    with log.open("wb") as out:
        gateway = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--no-access-log"],
            env=environment,
            cwd=ROOT,
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=10.0, trust_env=False) as client:
            wait_until_ready(client, alive=lambda: gateway.poll() is None)
        yield url, f"127.0.0.1:{grpc_port}"
    finally:
        gateway.terminate()
        gateway.wait(timeout=30)
