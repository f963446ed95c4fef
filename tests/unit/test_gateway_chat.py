from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_fakes import FakeImages, FakeSessions, ScriptedTurns, data_url, fake_parts, picture, question

from gateway.app import create_app
from gateway.parts import ANONYMOUS, GatewayParts
from gateway.settings import GatewaySettings
from gateway.state.models import Session
from planner.api import PlannerUnavailable, PromptTooLong
from planner.conversation import AssistantTurn, UserTurn
from services.core.errors import DeadlineExceeded

PICTURE = data_url(picture())
EARLIER_ID = "sess_" + "0" * 32


def client_of(parts: GatewayParts) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(parts)), base_url="http://gateway")


async def chat(parts: GatewayParts, *messages: dict[str, Any], **fields: Any) -> httpx.Response:
    async with client_of(parts) as client:
        body = json.dumps({"messages": list(messages), **fields})
        headers = {"Content-Type": "application/json"}
        return await client.post("/v1/chat/completions", content=body, headers=headers)


def events_of(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_the_answer_is_a_chat_completion_with_session_pictures_and_usage() -> None:
    parts = fake_parts()
    response = await chat(parts, question("What is it?", PICTURE))
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["model"] == "fake-planner"
    assert body["choices"][0]["message"]["content"] == "An answer."
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert body["session_id"] == response.headers["X-Session-Id"]
    assert len(body["images"]) == 1
    assert "debug" not in body


async def test_steps_come_with_debug_only() -> None:
    body = (await chat(fake_parts(), question("What?"), debug=True)).json()
    assert [step["thoughts"] for step in body["debug"]["steps"]] == ["Because."]


async def test_the_request_reaches_the_orchestrator_with_limits_and_request_id() -> None:
    turns = ScriptedTurns()
    response = await chat(
        fake_parts(turns), question("What?", PICTURE, PICTURE), temperature=None, max_completion_tokens=20, seed=3
    )
    request, _, context = turns.asked[0]
    assert (request.text, request.max_tokens, request.seed, request.temperature) == ("What?", 20, 3, 0.0)
    assert len(request.images) == 1, "the same picture twice is one picture"
    assert context.request_id == response.headers["X-Request-ID"]
    assert 100 < context.remaining_s <= 120


async def test_earlier_messages_become_the_history_of_a_new_session() -> None:
    turns = ScriptedTurns()
    messages = [
        {"role": "system", "content": "Be brief."},
        question("What is it?", PICTURE),
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "And its colour?"},
    ]
    await chat(fake_parts(turns), *messages)
    request, session, _ = turns.asked[0]
    first, second = session.conversation
    assert isinstance(first, UserTurn)
    assert isinstance(second, AssistantTurn)
    assert (first.text, list(first.images)) == ("What is it?", session.images)
    assert session.instructions == "Be brief."
    assert second.output.value == "A cat."
    assert request.text == "And its colour?"


async def test_a_single_message_has_the_system_text_in_front() -> None:
    turns = ScriptedTurns()
    await chat(fake_parts(turns), {"role": "developer", "content": "Be brief."}, question("What?"))
    request, session, _ = turns.asked[0]
    assert (request.text, session.instructions) == ("What?", "Be brief.")


@pytest.mark.parametrize("earlier", [1, 2, 3, 5])
async def test_the_system_text_stays_in_front_however_long_the_conversation(earlier: int) -> None:
    turns = ScriptedTurns()
    exchanges = [
        message for n in range(earlier) for message in (question(f"Q{n}"), {"role": "assistant", "content": f"A{n}"})
    ]
    parts = fake_parts(turns, settings=GatewaySettings(history_turns_max=2))
    await chat(parts, {"role": "system", "content": "Be brief."}, *exchanges, question("Now"))
    request, session, _ = turns.asked[0]
    asked = [turn.text for turn in session.conversation if isinstance(turn, UserTurn)]
    assert asked == [f"Q{n}" for n in range(earlier)][-2:]
    assert request.text == "Now"
    assert session.instructions == "Be brief."


async def test_only_the_last_message_is_taken_in_a_session() -> None:
    turns, sessions = ScriptedTurns(), FakeSessions()
    sessions.kept[EARLIER_ID] = Session(
        id=EARLIER_ID, owner=ANONYMOUS, created=1.0, conversation=(UserTurn(text="Before"),)
    )
    await chat(
        fake_parts(turns, sessions=sessions),
        question("Ignored", "data:nonsense"),
        question("Now"),
        session_id=EARLIER_ID,
    )
    request, session, _ = turns.asked[0]
    assert request.text == "Now"
    assert session.conversation == (UserTurn(text="Before"),)


async def test_the_session_is_stored_when_the_turn_has_finished() -> None:
    sessions, images = FakeSessions(), FakeImages()
    response = await chat(fake_parts(sessions=sessions, images=images), question("What?", PICTURE))
    assert list(sessions.kept) == [response.json()["session_id"]]
    assert list(images.kept) == response.json()["images"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said_before_failing", [[], ["Hel"]])
async def test_a_first_turn_that_fails_leaves_no_session_behind(stream: bool, said_before_failing: list[str]) -> None:
    sessions, turns = FakeSessions(), ScriptedTurns([*said_before_failing, PlannerUnavailable("gone")])
    await chat(fake_parts(turns, sessions=sessions), question("Hi"), stream=stream)
    assert len(turns.asked) == 1
    assert sessions.kept == {}


async def test_a_stream_has_role_text_finish_reason_and_done() -> None:
    response = await chat(fake_parts(ScriptedTurns(["Hel", "lo"])), question("Hi", PICTURE), stream=True, debug=True)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    *chunks, done = events_of(response)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert chunks[-1]["session_id"] == response.headers["X-Session-Id"]
    assert len(chunks[-1]["images"]) == 1
    assert chunks[-1]["debug"]["steps"]
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    response = await chat(fake_parts(), question("Hi"), stream=True, stream_options={"include_usage": True})
    *chunks, usage, _ = events_of(response)
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 10
    assert usage["session_id"] == response.headers["X-Session-Id"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PlannerUnavailable("The planner is starting.", 3.0), 503, "planner_unavailable"),
        (PromptTooLong("4096"), 400, "context_length_exceeded"),
        (DeadlineExceeded("The planner took too long."), 504, "deadline_exceeded"),
        (KeyError("secret"), 500, "internal_error"),
    ],
)
async def test_what_fails_before_the_answer_has_a_status(
    error: Exception, status: int, code: str, stream: bool
) -> None:
    response = await chat(fake_parts(ScriptedTurns([error])), question("Hi"), stream=stream)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert "secret" not in response.text
    assert ("Retry-After" in response.headers) == (status in (503, 504))


async def test_what_fails_in_the_middle_of_a_stream_is_its_last_event() -> None:
    turns = ScriptedTurns(["Hel", PlannerUnavailable("gone")])
    response = await chat(fake_parts(turns), question("Hi"), stream=True)
    assert response.status_code == 200
    *_, text, error = events_of(response)
    assert text["choices"][0]["delta"] == {"content": "Hel"}
    assert error["error"]["code"] == "planner_unavailable"
    assert error["error"]["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("said_before_leaving", [[], ["Hel"]])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_its_turn(stream: bool, said_before_leaving: list[str]) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        asked.set()
        await asyncio.Event().wait()

    sessions = FakeSessions()
    parts = fake_parts(ScriptedTurns([*said_before_leaving, hang], closed=closed.set), sessions=sessions)
    body = json.dumps({"messages": [question("Hi")], "stream": stream}).encode()
    to_app = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if to_app:
            return to_app.pop()
        await asked.wait()
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"content-type", b"application/json")],
        "query_string": b"",
    }
    app = create_app(parts)
    async with asyncio.timeout(5):
        await app(scope, receive, send)
        await closed.wait()
    assert b"[DONE]" not in b"".join(message.get("body", b"") for message in sent)
    assert sessions.kept == {}
    async with client_of(parts) as client:
        assert (await client.get("/healthz")).status_code == 200
    metrics = app.state.metrics.registry
    assert metrics.get_sample_value("llava_plus_turns_total", {"outcome": "cancelled"}) == 1
    labels = {"route": "/v1/chat/completions", "method": "POST", "status": "499"}
    assert metrics.get_sample_value("llava_plus_requests_total", labels) == 1


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([question("Hi")], {"n": 5}, "n"),
        ([question("Hi")], {"n": 2, "stream": True}, "n"),
        ([question("Hi")], {"tools": [{"type": "function"}]}, "tools"),
        ([question("Hi")], {"stop": ["x"]}, "stop"),
        ([question("Hi")], {"logprobs": True}, "logprobs"),
        ([question("Hi")], {"response_format": {"type": "json_object"}}, "response_format"),
        ([question("Hi"), {"role": "assistant", "content": "Hello"}], {}, "messages.1.role"),
        ([question(" ")], {}, "messages.0.content"),
        ([question("x" * 101)], {}, "messages.0.content"),
        ([question("Hi", *[PICTURE] * 3)], {}, "messages.0.content"),
        ([question("Hi")] * 5, {}, "messages"),
        ([question("Hi", "http://127.0.0.1/cat.png")], {}, "messages.0.content.1.image_url.url"),
        ([question("Hi", "file:///etc/passwd")], {}, "messages.0.content.1.image_url.url"),
        ([question("Hi", "data:image/png;base64,####")], {}, "messages.0.content.1.image_url.url"),
        ([question("Hi", "data:text/html;base64,aGk=")], {}, "messages.0.content.1.image_url.url"),
    ],
)
async def test_what_is_not_taken_is_a_400_that_names_the_field(
    messages: list[dict[str, Any]], fields: dict[str, Any], param: str
) -> None:
    settings = GatewaySettings(text_chars_max=100, images_per_message_max=2, messages_max=4)
    response = await chat(fake_parts(settings=settings), *messages, **fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([{"role": "user", "content": "x \ud800"}], {}, "messages.0.content.0.text.text"),
        ([question("Hi"), question("x \udfff")], {}, "messages.1.content.0.text.text"),
        ([question("Hi")], {"session_id": "\ud800"}, "session_id"),
    ],
)
async def test_half_a_surrogate_pair_is_a_422_that_names_the_field(
    messages: list[dict[str, Any]], fields: dict[str, Any], param: str
) -> None:
    turns = ScriptedTurns()
    response = await chat(fake_parts(turns), *messages, **fields)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == param
    assert turns.asked == []


async def test_fields_that_do_not_matter_are_accepted() -> None:
    fields = {"n": 1, "user": "me", "top_p": 1, "stop": None, "response_format": {"type": "text"}, "metadata": {}}
    assert (await chat(fake_parts(), question("Hi"), **fields)).status_code == 200


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(fake_parts()) as client:
        yield client


async def test_the_planner_is_listed_as_the_model(client: httpx.AsyncClient) -> None:
    assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["fake-planner"]


async def test_a_session_can_be_read_without_its_steps(client: httpx.AsyncClient) -> None:
    session_id = (await client.post("/v1/chat/completions", json={"messages": [question("Hi")]})).json()["session_id"]
    body = (await client.get(f"/v1/sessions/{session_id}")).json()
    assert body["object"] == "session"
    assert "conversation" not in body
