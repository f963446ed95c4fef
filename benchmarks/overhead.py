"""What the platform adds to a call: a no-op skill through HTTP, gateway, Serve handle and back.

A bare uvicorn application is measured in the same run, in alternating rounds, with the same client.
`python -m benchmarks.overhead` prints a table and writes benchmarks/results/overhead.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import aiohttp

from benchmarks.running import RESULTS, ROOT, free_port, platform

ROUNDS = 3
CLIENTS = (1, 32)
WARM_UP_CALLS = 200
TARGET_ADDED_MS = 5.0
TARGET_PER_SECOND = 300.0


@dataclass
class Row:
    """One measurement: the median over rounds."""

    what: str
    clients: int
    median_ms: float
    p99_ms: float
    per_second: float


@contextmanager
def bare() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([*command, "--no-access-log", "--log-level", "warning"], cwd=ROOT)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=10)


async def load(session: aiohttp.ClientSession, url: str, clients: int, calls: int) -> tuple[list[float], float]:
    """Each client calls one after the other. Returns milliseconds a call, and calls a second."""
    times: list[float] = []

    async def client() -> None:
        for _ in range(calls // clients):
            started = time.perf_counter()
            async with session.post(url, json={"arguments": {}}) as response:
                body = await response.read()
                if response.status != 200:
                    raise SystemExit(f"{url} answered {response.status}: {body[:300]!r}")
            times.append((time.perf_counter() - started) * 1e3)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return times, len(times) / (time.perf_counter() - started)


async def until_up(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.post(url, json={}):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def measure(urls: dict[str, str], calls: int) -> list[Row]:
    samples: dict[tuple[str, int], list[Row]] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for url in urls.values():
            await until_up(session, url)
            await load(session, url, 8, WARM_UP_CALLS)
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                for what, url in urls.items():
                    times, per_second = await load(session, url, clients, calls)
                    p99 = statistics.quantiles(times, n=100)[98]
                    row = Row(what, clients, statistics.median(times), p99, per_second)
                    samples.setdefault((what, clients), []).append(row)
    return [
        Row(
            what,
            clients,
            *(
                round(statistics.median(getattr(row, name) for row in rows), 2)
                for name in Row.__annotations__
                if name not in ("what", "clients")
            ),
        )
        for (what, clients), rows in samples.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="calls a measurement")
    calls = parser.parse_args().calls
    with bare() as bare_url, platform("benchmarks/noop.yaml") as (address, _):
        rows = asyncio.run(measure({"bare uvicorn": bare_url, "platform": f"{address}/v1/tools/noop"}, calls))
    by = {(row.what, row.clients): row for row in rows}
    added = by["platform", 1].median_ms - by["bare uvicorn", 1].median_ms
    print(f"{'':14}{'clients':>8}{'median ms':>11}{'p99 ms':>9}{'calls/s':>9}")
    for row in rows:
        print(f"{row.what:14}{row.clients:8}{row.median_ms:11.2f}{row.p99_ms:9.2f}{row.per_second:9.0f}")
    print(f"\nadded at 1 client: {added:.2f} ms at the median (target: at most {TARGET_ADDED_MS:g})")
    print(f"at 32 clients: {by['platform', 32].per_second:.0f} calls/s (target: at least {TARGET_PER_SECOND:g})")
    RESULTS.mkdir(exist_ok=True)
    report = {"rows": [asdict(row) for row in rows], "added_median_ms": round(added, 2)}
    (RESULTS / "overhead.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
