"""Processes of a run: found by the run's mark in their environment, measured, and ended by id."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

RUN_ID = "LLAVA_PLUS_RUN_ID"


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process and its share of the machine's memory (PSS: shared pages divided among their users)."""

    pid: int
    name: str
    pss_bytes: int


def of_run(run_id: str, *, without: Iterable[int] = ()) -> list[psutil.Process]:
    """All live processes that were started with LLAVA_PLUS_RUN_ID=`run_id`, however they were re-parented.

    Args:
        without: process ids to leave out.
    """
    left_out = frozenset(without)
    return [process for process in psutil.process_iter() if process.pid not in left_out and _mark(process) == run_id]


def memory_of_run(run_id: str) -> list[ProcessMemory]:
    """PSS of each process of the run, largest first."""
    measured = []
    for process in of_run(run_id):
        try:
            name = " ".join(process.cmdline()) or process.name()
            measured.append(ProcessMemory(process.pid, name, process.memory_full_info().pss))
        except psutil.Error:
            continue
    return sorted(measured, key=lambda one: -one.pss_bytes)


async def end_run(
    run_id: str, *, grace_s: float, without: Iterable[int] = (), say: Callable[[str], None] | None = None
) -> list[int]:
    """End what is left of a run: SIGTERM, after `grace_s` SIGKILL, until nothing is left.

    Returns:
        The ids of the processes that had to be ended.
    """
    ended: list[int] = []
    kill = False
    # A process may be starting children while it is being ended: look again until none is found.
    while left := await asyncio.to_thread(of_run, run_id, without=without):
        if say is not None:
            say(f"ending {len(left)} left process{'es' if len(left) > 1 else ''}")
        for process in left:
            ended.append(process.pid)
            _signal(process, kill=kill)
        _, alive = await asyncio.to_thread(psutil.wait_procs, left, grace_s)
        kill = bool(alive)
    return ended


def port_owner(port: int) -> str | None:
    """Name and id of the process that listens on a TCP port, if it may be known."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    except psutil.Error:
        pass
    return None


def tail(path: Path, lines: int = 8) -> tuple[str, ...]:
    """The last lines of a log that may not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-lines:]


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUN_ID)
    except (psutil.Error, OSError):
        return None


def _signal(process: psutil.Process, *, kill: bool) -> None:
    # psutil compares start times first, so a reused id is never hit.
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass
