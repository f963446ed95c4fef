"""Questions over gRPC through a real channel: answers, steps, sessions, marks, cancelling, and wrong ones."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from gateway_fakes import FakePlanner, FakeSkills, picture
from google.protobuf import json_format
from redis.asyncio import Redis

from gateway.parts import ANONYMOUS
from gateway.settings import GatewaySettings
from gateway.state.sessions import RedisSessionStore
from llava_plus.v1 import platform_pb2 as pb
from planner.api import PlannerUnavailable
from services.core.spec import Symbol
from tests.contract.grpc_calls import UNKNOWN, chat, metadata_of, said


def test_a_question_with_a_picture_is_answered_through_a_skill(platform: Any, skills: FakeSkills) -> None:
    events = chat(platform, "Please read the sign.", pb.Picture(data=picture()))
    assert said(events) == "It says STOP."
    finished = events[-1].finished
    assert finished.answer == "It says STOP."
    assert finished.finish_reason == "stop"
    assert finished.model == "fake-planner"
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (20, 10)
    assert finished.images[0].startswith("img_")
    assert {event.WhichOneof("event") for event in events} == {"delta", "finished"}
    assert not finished.steps


def test_with_debug_the_steps_come_as_they_happen_and_again_at_the_end(platform: Any, skills: FakeSkills) -> None:
    events = chat(platform, "Please read the sign.", pb.Picture(data=picture()), debug=True)
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[:3] == ["step_planned", "skill_started", "skill_finished"]
    assert events[0].step_planned.thoughts == "I need the text."
    assert events[0].step_planned.actions[0].api_name == "reader"
    assert json_format.MessageToDict(events[2].skill_finished.result) == {"texts": ["STOP"]}
    assert [step["thoughts"] for step in events[-1].finished.steps] == ["I need the text.", "I can answer."]


def test_a_conversation_goes_on_by_its_session_and_keeps_its_pictures(platform: Any) -> None:
    first = chat(platform, "What is it?", pb.Picture(data=picture()), instructions="Be brief.")[-1].finished
    second = chat(platform, "And now?", session_id=first.session_id)[-1].finished
    assert second.session_id == first.session_id
    assert second.answer.startswith("I see 1 picture(s).")


async def test_marks_masks_and_names_reach_the_turn(platform: Any, redis_url: str) -> None:
    request = pb.ChatRequest(
        text="What is it?",
        pictures=[pb.NamedPicture(picture=pb.Picture(data=picture()), name="sign")],
        points=[pb.Point(x=0.5, y=0.25), pb.Point(x=0.75, y=0.25, outside=True)],
        boxes=[pb.Box(x0=0.0, y0=0.25, x1=0.5, y1=0.5)],
        mask=pb.Picture(mask=pb.MaskRle(height=2, width=2, counts="4")),
        reference=pb.Reference(image=pb.Picture(data=picture(color="blue")), mask=pb.Picture(data=picture())),
    )
    finished = list(platform.Chat(request, timeout=30))[-1].finished
    async with Redis.from_url(redis_url) as redis:
        stored = await RedisSessionStore(redis, GatewaySettings()).get(finished.session_id, owner=ANONYMOUS)
    turn = stored.turns[0]
    assert turn.image_names == ["sign"]
    assert turn.marks.points == [(0.5, 0.25), (0.75, 0.25)]
    assert turn.marks.point_labels == [1, 0]
    assert turn.marks.boxes == [(0.0, 0.25, 0.5, 0.5)]
    assert set(turn.symbols) == {Symbol.MASK, Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK}


def test_a_message_that_is_sent_again_with_its_key_is_answered_once(platform: Any) -> None:
    first = chat(platform, "Once?", idempotency_key="grpc-1")[-1].finished
    again = chat(platform, "Once?", idempotency_key="grpc-1")
    assert len(again) == 1
    assert again[0].finished.replayed
    assert (again[0].finished.answer, again[0].finished.session_id) == (first.answer, first.session_id)


def test_cancelling_a_chat_stops_the_planner(platform: Any, planner: FakePlanner) -> None:
    call = platform.Chat(pb.ChatRequest(text="hang"))
    assert next(call).delta.text == "Well"
    call.cancel()
    assert planner.cancelled.wait(timeout=10)


def test_a_deadline_that_passes_stops_the_planner(platform: Any, planner: FakePlanner) -> None:
    with pytest.raises(grpc.RpcError) as late:
        list(platform.Chat(pb.ChatRequest(text="hang"), timeout=2))
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert planner.cancelled.wait(timeout=10)


@pytest.mark.parametrize(
    ("request_", "code", "kind", "param", "says"),
    [
        (pb.ChatRequest(), "INVALID_ARGUMENT", "invalid_request", "text", "ask a question"),
        (pb.ChatRequest(text="x" * 9000), "INVALID_ARGUMENT", "invalid_request", "text", "text: at most 8000"),
        (pb.ChatRequest(text="Hi", session_id="sess_0"), "NOT_FOUND", "session_not_found", "session_id", "session"),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture()]),
            "INVALID_ARGUMENT",
            "invalid_request",
            "pictures.0",
            "the picture is empty: set id, data, url or mask",
        ),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture(picture=pb.Picture(data=b"x"))]),
            "INVALID_ARGUMENT",
            "invalid_image",
            "pictures.0",
            "picture",
        ),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture(picture=pb.Picture(id=UNKNOWN))]),
            "NOT_FOUND",
            "image_not_found",
            None,
            UNKNOWN,
        ),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture(picture=pb.Picture(url="ftp://x"))]),
            "INVALID_ARGUMENT",
            "invalid_request",
            "images.0",
            "data: URL",
        ),
        (
            pb.ChatRequest(text="Hi", boxes=[pb.Box(x0=0.9, x1=0.1)]),
            "INVALID_ARGUMENT",
            "invalid_request",
            "boxes.0",
            "x0 <= x1",
        ),
        (
            pb.ChatRequest(text="Hi", mask=pb.Picture(mask=pb.MaskRle(height=2, width=2, counts="5"))),
            "INVALID_ARGUMENT",
            "invalid_request",
            "mask",
            "not the code of a mask",
        ),
        (pb.ChatRequest(text="Hi", temperature=9), "INVALID_ARGUMENT", "invalid_request", "temperature", "2"),
    ],
)
def test_a_wrong_question_says_what_is_wrong_in_its_own_terms(
    platform: Any, request_: pb.ChatRequest, code: str, kind: str, param: str | None, says: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        list(platform.Chat(request_, timeout=30))
    assert error.value.code().name == code
    assert says in error.value.details()
    assert "messages." not in error.value.details()
    metadata = metadata_of(error.value)
    assert (metadata["code"], metadata.get("param")) == (kind, param)
    assert metadata["request-id"].startswith("req_")


def test_a_planner_that_is_away_is_unavailable(platform: Any, planner: FakePlanner) -> None:
    planner.fails = PlannerUnavailable("The planner is starting.", retry_after_s=1.0)
    with pytest.raises(grpc.RpcError) as error:
        chat(platform, "Hi")
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert error.value.details() == "The planner is starting."
    assert metadata_of(error.value)["retry-after"] == "1"
