"""Several answers to a question, and the pictures in them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from gateway_fakes import FakeSessions, fake_parts, picture, question

from gateway.app import create_app
from gateway.orchestrator.events import AnswerDelta, TurnEvent, TurnFinished, TurnRequest, Usage
from gateway.parts import ANONYMOUS, GatewayParts
from gateway.settings import GatewaySettings
from gateway.state.models import Session, StepRecord
from planner.api import PlannerUnavailable
from planner.conversation import UserTurn
from services.core.context import CallContext


@dataclass
class NumberedTurns:
    """Turns that say which they are, the first 0, and paint a picture; `fails` fails, and `waits` waits for ever."""

    parts: GatewayParts | None = None
    fails: int | None = None
    waits: int | None = None
    asked: list[TurnRequest] = field(default_factory=list)
    running: int = 0
    most: int = 0
    stopped: int = 0

    async def run(
        self, request: TurnRequest, session: Session, context: CallContext
    ) -> AsyncGenerator[TurnEvent, None]:
        number = len(self.asked)
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if number == self.fails:
                raise PlannerUnavailable("Gone.")
            if number == self.waits:
                await asyncio.Event().wait()
            assert self.parts is not None
            info = await self.parts.images.put(picture(color=(number, 0, 0)), owner=context.owner)
            yield AnswerDelta(f"Answer {number}.")
            again = session.model_copy(update={"conversation": (UserTurn(text=f"Session of {number}"),)})
            step = StepRecord(thoughts=f"{number}", actions=[], value="", planner_ms=1.0)
            yield TurnFinished(f"Answer {number}.", again, [step], Usage(7, 3), produced=[info.id])
        finally:
            self.running -= 1
            self.stopped += 1


def wired(turns: NumberedTurns, **settings: Any) -> GatewayParts:
    turns.parts = fake_parts(turns, settings=GatewaySettings(**settings))
    return turns.parts


async def chat(parts: GatewayParts, **fields: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=create_app(parts))
    headers = fields.pop("headers", {})
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        body = {"messages": [question("Draw a cat.")], **fields}
        return await client.post("/v1/chat/completions", json=body, headers=headers)


async def test_the_first_of_several_answers_is_the_sessions_and_all_have_their_pictures() -> None:
    turns = NumberedTurns()
    parts = wired(turns)
    body = (await chat(parts, n=3, debug=True)).json()
    answers = [choice["message"]["content"] for choice in body["choices"]]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert sorted(answers) == ["Answer 0.", "Answer 1.", "Answer 2."]
    assert body["usage"] == {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
    stored = await parts.sessions.get(body["session_id"], owner=ANONYMOUS)
    assert isinstance(stored.conversation[0], UserTurn)
    assert answers[0] == f"Answer {stored.conversation[0].text.removeprefix('Session of ')}."
    assert body["debug"]["steps"][0]["thoughts"] == answers[0].removeprefix("Answer ").removesuffix(".")
    pictures = [choice["pictures"][0]["id"] for choice in body["choices"]]
    assert len(set(pictures)) == 3
    assert body["produced_images"] == [pictures[0]]


async def test_the_answers_are_made_at_the_same_time() -> None:
    turns = NumberedTurns()
    await chat(wired(turns), n=3)
    assert turns.most == 3


@pytest.mark.parametrize(
    ("fields", "temperatures", "seeds"),
    [
        ({}, [0.0, 0.7, 0.7], [None, None, None]),
        ({"temperature": 0.5, "seed": 4}, [0.5, 0.5, 0.5], [4, 5, 6]),
        ({"temperature": 0, "seed": 2**63 - 1}, [0.0, 0.0, 0.0], [-(2**63), -(2**63) + 1, 2**63 - 1]),
    ],
)
async def test_answers_after_the_first_are_sampled_with_seeds_of_their_own(
    fields: dict[str, Any], temperatures: list[float], seeds: list[int | None]
) -> None:
    turns = NumberedTurns()
    await chat(wired(turns), n=3, **fields)
    assert sorted(one.temperature for one in turns.asked) == temperatures
    assert sorted((one.seed for one in turns.asked), key=lambda seed: seed or 0) == seeds


async def test_if_one_of_the_answers_fails_there_is_none_and_the_session_stays_as_it_was() -> None:
    turns = NumberedTurns(fails=1)
    parts = wired(turns)
    response = await chat(parts, n=2)
    assert response.status_code == 503
    assert isinstance(parts.sessions, FakeSessions)
    assert parts.sessions.kept == {}
    assert turns.running == 0


async def test_when_the_first_answer_fails_the_others_are_stopped() -> None:
    turns = NumberedTurns(fails=0, waits=1)
    async with asyncio.timeout(10):
        assert (await chat(wired(turns), n=3)).status_code == 503
    assert turns.running == 0


@pytest.mark.parametrize(
    ("public_url", "before"), [(None, ""), ("https://vision.example.org/", "https://vision.example.org")]
)
async def test_a_picture_of_an_answer_comes_with_its_url_type_and_size(public_url: str | None, before: str) -> None:
    body = (await chat(wired(NumberedTurns(), public_url=public_url))).json()
    (handle,) = body["produced_images"]
    assert body["choices"][0]["pictures"] == [
        {"id": handle, "url": f"{before}/v1/images/{handle}", "media_type": "image/png", "width": 32, "height": 24}
    ]


async def test_pictures_come_inline_on_request_also_when_the_answer_is_given_again() -> None:
    turns = NumberedTurns()
    parts = wired(turns)
    wanted = "data:image/png;base64," + base64.b64encode(picture(color=(0, 0, 0))).decode()
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        body = (await chat(parts, inline_images=True, headers=headers)).json()
        assert body["choices"][0]["pictures"][0]["data_url"] == wanted
    assert len(turns.asked) == 1
    sessions: Any = parts.sessions
    (answer,) = sessions.answers.values()
    assert "choices" in answer.data
    assert "data_url" not in answer.data, "bytes are not stored twice"
    store: Any = parts.images
    store.kept.clear()
    body = (await chat(parts, inline_images=True, headers=headers)).json()
    assert body["choices"][0]["pictures"][0]["data_url"] is None


async def test_the_last_chunk_of_a_stream_has_the_pictures() -> None:
    for headers in ({}, {"Idempotency-Key": "k"}, {"Idempotency-Key": "k"}):
        response = await chat(wired(NumberedTurns()), stream=True, inline_images=True, headers=headers)
        *_, last, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
        assert done == "[DONE]"
        (choice,) = json.loads(last)["choices"]
        assert choice["finish_reason"] == "stop"
        assert choice["pictures"][0]["data_url"].startswith("data:image/png;base64,")
