import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.cluster import _event, _last_line
from deploy.environment import child_environment
from deploy.profile import load_profile
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
