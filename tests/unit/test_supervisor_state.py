import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.state_dir import AlreadyRunning, RunState, StateDir

RUN = RunState(
    pid=1, run_id="r", address="http://127.0.0.1:8000", profile="embedded", run_dir="/absent/run", started=0.0
)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state")
    state.create()
    return state


def test_the_folder_and_its_files_are_for_their_owner_alone(state: StateDir) -> None:
    state.write(RUN)

    assert stat.S_IMODE(state.root.stat().st_mode) == 0o700
    assert stat.S_IMODE((state.root / "state.json").stat().st_mode) == 0o600


def test_a_second_holder_of_the_lock_is_refused_until_the_first_lets_go(state: StateDir) -> None:
    with state.lock():
        assert state.locked()
        with pytest.raises(AlreadyRunning), state.lock():
            pass

    assert not state.locked()


def test_a_run_is_read_as_it_was_written_and_updated(state: StateDir) -> None:
    state.write(RUN)
    state.update(phase="ready", ready_s=12.5)

    run = state.read()
    assert run is not None
    assert (run.run_id, run.phase, run.ready_s) == ("r", "ready", 12.5)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1, "unknown": 2}'])
def test_a_damaged_state_file_reads_as_no_run(state: StateDir, text: str) -> None:
    (state.root / "state.json").write_text(text)

    assert state.read() is None


def test_a_forgotten_run_is_gone(state: StateDir) -> None:
    state.write(RUN)
    state.forget()
    state.forget()

    assert state.read() is None


def test_sockets_of_a_deep_state_folder_go_to_a_short_private_one(tmp_path: Path) -> None:
    state = StateDir(tmp_path / ("deep" * 20))
    state.create()
    folder = state.run_dir()

    assert not folder.is_relative_to(state.root)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(os.fsencode(folder)) < 64
    folder.rmdir()


def test_a_forgotten_run_takes_its_folder_of_sockets_along(state: StateDir, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    state.write(replace(RUN, run_dir=str(folder)))

    state.forget()

    assert not folder.exists()


def test_logs_of_the_run_before_are_kept_once(state: StateDir) -> None:
    state.log("gateway").write_text("old")
    state.up_log.write_text("the new run's own lines")

    state.rotate_logs()

    assert sorted(path.name for path in state.logs.iterdir()) == ["gateway.log.1", "up.log"]


def test_rays_logs_outlive_a_temporary_folder_and_replace_those_of_the_run_before(
    state: StateDir, tmp_path: Path
) -> None:
    for number in (1, 2):
        folder = tmp_path / f"short{number}"
        (folder / f"session_2026_{number}" / "logs").mkdir(parents=True)
        (folder / f"session_2026_{number}" / "logs" / "worker.err").write_text("why")
        (folder / "session_latest").symlink_to(folder / f"session_2026_{number}")
        state.write(replace(RUN, run_dir=str(folder)))
        state.forget()
        assert not folder.exists()

    kept = state.ray_logs(folder)
    assert [str(path.relative_to(kept)) for path in kept.rglob("*.err")] == ["session_2026_2/worker.err"]
    assert state.ray_logs(state.root / "run") == state.root / "run"
