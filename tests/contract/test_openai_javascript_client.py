"""The official OpenAI client for JavaScript talks to the gateway without noticing a difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateway_fakes import data_url, picture

from tests.contract.node_packages import installed, run

VERSION = "7.57.0"
SCRIPT = Path(__file__).parent / "javascript" / "openai_client.mjs"


@pytest.fixture(scope="module")
def found(gateway: Any) -> dict[str, Any]:
    folder = installed("openai", VERSION)
    printed = run(SCRIPT, folder, f"{gateway.url}/v1", data_url(picture()))
    answer: dict[str, Any] = json.loads(printed)
    return answer


def test_a_question_with_pictures_is_answered_through_a_skill(found: dict[str, Any]) -> None:
    assert found["whole"]["answer"] == "It says STOP."
    assert found["whole"]["usage"] == 30
    assert found["whole"]["images"][0].startswith("img_")


def test_a_session_goes_on(found: dict[str, Any]) -> None:
    assert found["again"]["same"]
    assert found["again"]["answer"].startswith("I see 1 picture(s). You asked: And now?")


def test_a_stream_adds_up_to_the_answer_with_usage(found: dict[str, Any]) -> None:
    assert found["stream"]["text"] == "It says STOP."
    assert found["stream"]["usage"] == 30
    assert found["stream"]["finish"] == "stop"
    assert found["stream"]["session"].startswith("sess_")
    assert found["helper"].startswith("I see 0 picture(s). You asked: Hi")


def test_several_answers_come_in_order(found: dict[str, Any]) -> None:
    assert [index for index, _, _ in found["several"]] == [0, 1, 2]
    assert all(text.startswith("I see 0 picture(s).") and pictures == [] for _, text, pictures in found["several"])


def test_models_are_listed(found: dict[str, Any]) -> None:
    assert found["models"] == ["fake-planner"]


def test_errors_are_the_clients_own(found: dict[str, Any]) -> None:
    assert found["errors"] == [
        ["BadRequestError", 400, "image_url_refused", "messages.0.content.1.image_url.url", True],
        ["NotFoundError", 404, "session_not_found", "session_id", True],
        ["UnprocessableEntityError", 422, "invalid_request", "temperature", True],
    ]
