import json
import os
import queue
import re
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.serve.exceptions import RayServeException

from deploy import cluster
from deploy.cluster import _event, _last_line
from deploy.command import typed
from deploy.environment import child_environment
from deploy.profile import Profile, load_profile
from deploy.supervisor import things_to_try


def test_three_things_to_try_carry_valid_bodies_for_the_profile() -> None:
    text = things_to_try("http://127.0.0.1:8000", load_profile("embedded"))

    assert re.findall(r"^  (\d)\.", text, re.MULTILINE) == ["1", "2", "3"]
    [chat] = re.findall(r"-d '(.*)'", text)
    assert json.loads(chat)["messages"]
    assert "/v1/tools/easyocr" in text


def test_children_never_inherit_another_ray_and_always_carry_the_mark() -> None:
    environment = child_environment(
        {"RAY_ADDRESS": "elsewhere:6379", "RAY_AUTH_TOKEN": "t", "OMP_NUM_THREADS": "3", "HOME": "/somewhere"},
        run_id="r1",
        redis_url="unix:///redis.sock",
        profile=Path("/p.yaml"),
        token_file=Path("/token"),
        extra={"HF_HUB_OFFLINE": "1"},
    )

    assert "RAY_ADDRESS" not in environment
    assert "RAY_AUTH_TOKEN" not in environment
    assert environment["LLAVA_PLUS_RUN_ID"] == "r1"
    assert environment["RAY_AUTH_TOKEN_PATH"] == "/token"
    assert (environment["OMP_NUM_THREADS"], environment["HF_HUB_OFFLINE"]) == ("3", "1")


def test_threads_default_to_the_cores() -> None:
    environment = child_environment({}, run_id="r", redis_url="u", profile=Path("p"), token_file=Path("t"), extra={})

    assert environment["OMP_NUM_THREADS"] == str(min(os.cpu_count() or 1, 8))


def test_a_traceback_is_told_by_the_line_that_says_what_went_wrong() -> None:
    text = "The deployment failed:\nray::replica\n  File x, line 1\nservices.SkillError: no weights\n  at the end"

    assert _last_line(text) == "services.SkillError: no weights"
    assert _last_line("") == "no reason given; see the log"


@pytest.mark.parametrize(
    ("status", "states", "message", "expected"),
    [
        ("RUNNING", ["RUNNING"], "", ("ready", "")),
        ("DEPLOYING", [], "", ("loading", "starting a process")),
        ("DEPLOYING", ["STARTING"], "", ("loading", "loading easyocr")),
        ("UNHEALTHY", ["STARTING"], "", ("loading", "replacing a lost replica")),
        ("DEPLOY_FAILED", [], "ValueError: bad", ("failed", "ValueError: bad")),
    ],
)
def test_serves_status_becomes_one_line(
    status: str, states: list[str], message: str, expected: tuple[str, str]
) -> None:
    deployment = SimpleNamespace(message="", replica_states=states)
    event = _event("skills", SimpleNamespace(status=status, message=message, deployments={"d": deployment}), "easyocr")

    assert (event.state, event.detail) == expected


def test_the_command_is_told_with_its_path_where_the_shell_would_not_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "llava-plus"
    command.touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))

    monkeypatch.setenv("PATH", "/absent")
    assert f"`{command} down`" in things_to_try("http://127.0.0.1:8000", load_profile("embedded"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed("down") == "llava-plus down"


def polled(monkeypatch: pytest.MonkeyPatch, answers: Iterator[bool], silence_s_max: float) -> list[cluster.Event]:
    """What the cluster process says while Serve answers or not; it is stopped after the last answer."""
    commands: queue.Queue[cluster.Command] = queue.Queue()

    def status() -> SimpleNamespace:
        answer = next(answers, None)
        if answer is None:
            commands.put(cluster.Command(do="stop"))
        if answer is False:
            raise RayServeException("the controller restarts")
        return SimpleNamespace(applications={"a": SimpleNamespace(status="RUNNING")})

    monkeypatch.setattr("ray.serve.status", status)
    monkeypatch.setattr(cluster, "POLL_READY_S", 0.01)
    monkeypatch.setattr(cluster, "SILENCE_S_MAX", silence_s_max)
    config = cluster.ClusterConfig(profile=Profile(name="p", applications=()), redis_url="", temp_dir=Path())
    said: list[cluster.Event] = []
    cluster._run(config, commands, said.append)
    return said


def test_a_moment_without_an_answer_of_serve_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said = polled(monkeypatch, iter([True, False, False, True]), silence_s_max=30.0)

    assert [(event.about, event.state) for event in said] == [("a", "ready")]


def test_serve_that_stays_silent_is_told_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = polled(monkeypatch, chain([True], repeat(False)), silence_s_max=0.1)

    assert [(event.about, event.state) for event in said] == [("a", "ready"), ("serve", "failed")]
    assert "the controller restarts" in said[-1].detail
