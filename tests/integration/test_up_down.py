"""The supervisor through the real command line: real Ray Serve, Redis and gateway, one skill that does nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis

from deploy.processes import of_run
from deploy.state_dir import RunState, StateDir

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 120.0
PROFILE = """
applications:
  - name: noop
    skills: {noop: {class: "benchmarks.noop_skill:Noop"}}
    num_cpus: 0
ray: {num_cpus: 1, object_store_bytes: 83886080}
"""


def until(met: Callable[[], object], what: str) -> None:
    """Wait for an event, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Platform:
    """The command line on a state folder of its own."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.profile = self.folder / "noop.yaml"
        self.profile.write_text(PROFILE)
        self.state = StateDir(self.folder / "state")
        self.environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        self.environment["LLAVA_PLUS_STATE_DIR"] = str(self.state.root)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "deploy.cli.main", *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = self.environment | environment
        return subprocess.run(
            self.command(*arguments), env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEADLINE_S
        )

    @property
    def up_arguments(self) -> tuple[str, ...]:
        return ("up", "--profile", str(self.profile), "--port", str(self.port))

    def up(self) -> subprocess.Popen[bytes]:
        """In the foreground, until it is ready."""
        with (self.folder / "out").open("wb") as out:
            process = subprocess.Popen(
                self.command(*self.up_arguments), env=self.environment, cwd=REPOSITORY, stdout=out, stderr=out
            )
        until(lambda: process.poll() is not None or self.phase == "ready", "not ready")
        assert process.poll() is None, (self.folder / "out").read_text()
        return process

    @property
    def phase(self) -> str | None:
        run = self.state.read()
        return run.phase if run else None

    @property
    def now(self) -> RunState:
        run = self.state.read()
        assert run is not None
        return run

    def redis(self) -> Redis:
        return Redis(unix_socket_path=f"{self.now.run_dir}/redis.sock")


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("up"))
    yield platform
    run = platform.state.read()
    platform.run("down")
    assert run is None or of_run(run.run_id) == []


def test_up_serves_a_skill_refuses_a_second_up_and_ctrl_c_leaves_no_process(platform: Platform) -> None:
    process = platform.up()
    run = platform.now

    reply = httpx.post(f"{run.address}/v1/tools/noop", json={}, timeout=30)
    assert (reply.status_code, reply.json()["result"]) == (200, {"ok": True})

    second = platform.run(*platform.up_arguments)
    assert second.returncode == 2
    assert re.fullmatch(rf"llava-plus runs already at {run.address} \(process {run.pid}, ready\): .*\n", second.stderr)

    assert foreign_sockets(run.run_id) == []

    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0
    assert of_run(run.run_id) == []
    shown = (platform.folder / "out").read_text()
    assert re.search(r"\d+\.\ds  app noop +loading  loading noop", shown)
    assert "Three things to try" in shown
    assert "no process is left" in shown


def test_detached_up_returns_when_ready_and_data_in_redis_survives_down_and_up(platform: Platform) -> None:
    first = platform.run(*platform.up_arguments, "--detach")
    assert first.returncode == 0, first.stdout + first.stderr
    assert httpx.get(f"{platform.now.address}/readyz", timeout=10).status_code == 200
    assert "ready" in platform.run("status").stdout
    run_id = platform.now.run_id
    with platform.redis() as redis:
        redis.set("kept", "yes", ex=3600)

    down = platform.run("down")
    assert (down.returncode, of_run(run_id)) == (0, [])
    assert platform.run("status").returncode == 3

    assert platform.run(*platform.up_arguments, "--detach").returncode == 0
    with platform.redis() as redis:
        assert redis.get("kept") == b"yes"


def test_a_killed_supervisor_leaves_nothing_after_down(platform: Platform) -> None:
    process = platform.up()
    run_id = platform.now.run_id
    assert of_run(run_id)

    process.kill()
    process.wait()

    down = platform.run("down")
    assert (down.returncode, of_run(run_id)) == (0, [])


def test_a_gateway_that_dies_is_restarted(platform: Platform) -> None:
    process = platform.up()
    run = platform.now
    gateway = next(one for one in of_run(run.run_id) if "deploy.gateway_server" in one.cmdline())

    gateway.kill()
    psutil.wait_procs([gateway], timeout=10)

    until(lambda: answers(f"{run.address}/readyz"), "the gateway did not come back")
    process.terminate()
    assert process.wait(DEADLINE_S) == 0


def test_a_port_in_use_ends_with_status_2_and_one_line(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", platform.port)):
        refused = platform.run(*platform.up_arguments)

    assert refused.returncode == 2
    assert re.fullmatch(rf"Port {platform.port} is in use.*--port\.\n", refused.stderr)


def test_an_unreachable_external_redis_ends_with_status_2_and_one_line(platform: Platform) -> None:
    refused = platform.run(*platform.up_arguments, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert refused.returncode == 2
    assert re.fullmatch(r"REDIS_URL is set but Redis does not answer.*\n", refused.stderr)


def test_a_checkpoint_that_is_not_there_is_refused_before_anything_starts(platform: Platform) -> None:
    platform.profile.write_text("applications: [{name: ocr, skills: {easyocr: {checkpoint: /absent}}}]")

    refused = platform.run(*platform.up_arguments)

    assert refused.returncode == 2
    assert "The checkpoint /absent is not there" in refused.stderr


def test_a_skill_that_cannot_load_ends_the_start_with_status_1_and_its_reason(
    platform: Platform, tmp_path: Path
) -> None:
    platform.profile.write_text(f"applications: [{{name: ocr, skills: {{easyocr: {{checkpoint: {tmp_path}}}}}}}]")

    failed = platform.run(*platform.up_arguments)

    assert failed.returncode == 1
    assert "craft_mlt_25k.pth is missing" in failed.stdout


def test_down_without_a_run_says_so(platform: Platform) -> None:
    down = platform.run("down")

    assert (down.returncode, down.stdout) == (0, "llava-plus does not run.\n")


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def foreign_sockets(run_id: str) -> list[str]:
    """Addresses other than loopback on which processes of the run listen."""
    return [
        f"{process.name()} {connection.laddr.ip}:{connection.laddr.port}"
        for process in of_run(run_id)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")
    ]
