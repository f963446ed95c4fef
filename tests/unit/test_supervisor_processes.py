import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from deploy.children import Child
from deploy.cli.down import ask
from deploy.model_builder import sweep
from deploy.processes import RUN_ID, end_run, memory_of_run, of_run, tail
from deploy.state_dir import RunState

SLEEPS = "import sys, time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS
LEAVES_ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], start_new_session=True)"


def marked(run_id: str) -> dict[str, str]:
    return os.environ | {RUN_ID: run_id}


def started(code: str, run_id: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], env=marked(run_id), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


LEAVES_ORPHAN = f"""
import os, sys
if os.fork() == 0:
    os.setsid()
    os.execv(sys.executable, [sys.executable, "-c", {SLEEPS!r}])
"""


@pytest.fixture
def run_id() -> str:
    return uuid4().hex


async def test_only_processes_of_the_named_run_are_ended(run_id: str) -> None:
    ours, other = started(SLEEPS, run_id), started(SLEEPS, f"{run_id}0")

    assert await end_run(run_id, grace_s=5.0) == [ours.pid]
    ours.wait(5)
    assert not psutil.pid_exists(ours.pid)
    assert other.poll() is None
    other.kill()
    other.wait(5)


def test_a_process_that_left_its_parent_and_session_is_found(run_id: str) -> None:
    subprocess.run([sys.executable, "-c", LEAVES_ORPHAN], env=marked(run_id), check=True, stdout=subprocess.DEVNULL)

    assert len(asyncio.run(end_run(run_id, grace_s=5.0))) == 1
    assert of_run(run_id) == []


async def test_a_process_that_ignores_sigterm_is_killed(run_id: str) -> None:
    process = started(DEAF, run_id)

    await end_run(run_id, grace_s=0.2)

    process.wait(5)
    assert not psutil.pid_exists(process.pid)


def test_memory_is_told_for_each_process_of_the_run(run_id: str) -> None:
    process = started(SLEEPS, run_id)

    [measured] = memory_of_run(run_id)

    assert (measured.pid, measured.pss_bytes > 2**20) == (process.pid, True)
    process.kill()
    process.wait(5)


def test_the_tail_of_a_log_is_its_last_lines_and_empty_without_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\n\ntwo\nthree\n")

    assert tail(log, 2) == ("two", "three")
    assert tail(tmp_path / "absent") == ()


async def test_a_child_that_dies_is_told_with_its_status_and_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('no weights', file=sys.stderr); sys.exit(7)"]
    child = await Child.start("thing", command, env=os.environ, log=tmp_path / "log")
    await child.wait()

    death = child.death()
    assert "The thing died (exit status 7)" in str(death)
    assert death.log_tail == ("no weights",)


async def test_a_child_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    child = await Child.start("thing", [sys.executable, "-c", DEAF], env=os.environ, log=tmp_path / "log", talks=True)
    assert [line async for line in _first(child)] == ["up"]

    await child.stop(0.2)

    assert not child.running


async def test_a_second_wish_to_stop_cuts_the_grace_short(tmp_path: Path) -> None:
    child = await Child.start("thing", [sys.executable, "-c", DEAF], env=os.environ, log=tmp_path / "log", talks=True)
    assert [line async for line in _first(child)] == ["up"]
    hasten = asyncio.Event()
    hasten.set()

    async with asyncio.timeout(5):
        await child.stop(60.0, hasten)

    assert not child.running


def test_a_child_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, sys
from pathlib import Path
from deploy.children import Child
async def main():
    command = [sys.executable, "-c", {SLEEPS!r}]
    child = await Child.start("thing", command, env=os.environ, log=Path({str(tmp_path / "log")!r}))
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    supervisor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    child = psutil.Process(int(supervisor.stdout.readline()))

    supervisor.kill()
    supervisor.communicate(timeout=5)

    gone, _ = psutil.wait_procs([child], timeout=5)
    assert gone == [child]


async def _first(child: Child):  # type: ignore[no-untyped-def]
    async for line in child.lines():
        yield line
        return


def test_down_signals_the_supervisor_but_never_a_later_process_with_its_id(run_id: str) -> None:
    process = started(SLEEPS, run_id)
    run = RunState(pid=process.pid, run_id=run_id, address="", profile="", started=time.time())

    assert not ask(replace(run, started=run.started - 3600))
    assert process.poll() is None
    assert ask(run)
    assert process.wait(5) == -signal.SIGTERM
    assert not ask(run)


def test_a_build_that_is_called_off_removes_its_folder(tmp_path: Path) -> None:
    code = f"""
import sys, time
import planner.model
def build_embedded(target, **_):
    (target / "part").write_text("x")
    print("building", file=sys.stderr, flush=True)
    time.sleep(60)
planner.model.build_embedded = build_embedded
sys.argv = ["model_builder", {str(tmp_path)!r}]
from deploy.model_builder import main
main()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for line in process.stderr:
        if line == b"building\n":
            break
    assert list(tmp_path.glob(".planner-*/part"))

    process.terminate()

    assert process.wait(10) == 128 + signal.SIGTERM
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []


def test_only_builds_untouched_for_an_hour_are_swept(tmp_path: Path) -> None:
    for name, age_s in ((".planner-old", 3700), (".planner-new", 60), ("planner-built", 9999)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)

    sweep(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".planner-new", "planner-built"]
