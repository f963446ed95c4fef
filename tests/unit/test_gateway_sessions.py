"""Sessions over HTTP: list, read, delete, replay; messages that are sent twice, and two at once."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from gateway_fakes import FakeImages, FakeSessions, ScriptedTurns, data_url, fake_parts, picture, question

from gateway.app import create_app
from gateway.parts import ANONYMOUS, GatewayParts
from gateway.settings import GatewaySettings
from gateway.state.models import Marks, Session, StepRecord, TurnRecord
from planner.conversation import AssistantTurn, UserTurn
from planner.format import PlannerOutput
from services.core.images import decode
from services.core.spec import Symbol
from services.core.types import MaskRLE

PICTURE = data_url(picture())


def client_of(parts: GatewayParts) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(parts)), base_url="http://gateway")


def kept(number: int, *questions: str, **fields: Any) -> Session:
    turns = [
        TurnRecord(question=text, images=[], answer=f"{text}!", steps=[], created=1.0, request_id="req-1")
        for text in questions
    ]
    return Session(id=f"sess_{number:032x}", owner=ANONYMOUS, created=1.0, turns=turns, **fields)


def sessions_with(*sessions: Session) -> FakeSessions:
    store = FakeSessions()
    store.kept = {session.id: session for session in sessions}
    store.created = 1000
    return store


async def test_sessions_are_listed_in_pages() -> None:
    store = sessions_with(*(kept(number, f"Q{number}") for number in range(3)))
    async with client_of(fake_parts(sessions=store)) as client:
        first = (await client.get("/v1/sessions", params={"limit": 2})).json()
        rest = (await client.get("/v1/sessions", params={"limit": 2, "after": first["data"][-1]["id"]})).json()
    assert [one["title"] for one in first["data"]] == ["Q2", "Q1"]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [one["title"] for one in rest["data"]] == ["Q0"]


async def test_a_session_tells_whose_it_is_and_how_long_it_lives() -> None:
    before = time.time()
    async with client_of(fake_parts(sessions=sessions_with(kept(1, "Q")))) as client:
        seen = (await client.get(f"/v1/sessions/{kept(1).id}")).json()
        (listed,) = (await client.get("/v1/sessions")).json()["data"]
        again = (await client.post(f"/v1/sessions/{kept(1).id}/replay")).json()
    ttl_s = GatewaySettings().session_ttl_s
    assert (listed["owner"], listed["ttl_s"]) == (ANONYMOUS, ttl_s)
    assert listed["expires"] > before
    for view in (seen, again):
        assert (view["owner"], view["ttl_s"]) == (ANONYMOUS, ttl_s)
        assert before + ttl_s <= view["expires"] <= time.time() + ttl_s


def test_a_message_waits_for_another_one_of_its_session_for_as_long_as_that_may_take() -> None:
    assert GatewaySettings().session_wait_s >= GatewaySettings().turn_deadline_s


async def test_a_deleted_session_is_gone() -> None:
    store = sessions_with(kept(1, "Q"))
    path = f"/v1/sessions/{kept(1).id}"
    async with client_of(fake_parts(sessions=store)) as client:
        assert (await client.delete(path)).json()["deleted"] is True
        assert (await client.delete(path)).status_code == 404
        assert (await client.get(path)).status_code == 404


async def test_a_stored_turn_tells_what_came_with_its_question() -> None:
    handles = {name: f"img_{number:040x}" for number, name in enumerate(("shown", "mask", "example", "over"))}
    turn = TurnRecord(
        question="Cut it",
        images=[handles["shown"]],
        image_names=["desk"],
        marks=Marks(points=[(0.5, 0.25)], point_labels=[0], boxes=[(0.1, 0.1, 0.4, 0.5)]),
        symbols={
            Symbol.MASK: handles["mask"],
            Symbol.REFERENCE_IMAGE: handles["example"],
            Symbol.REFERENCE_MASK: handles["over"],
        },
        mode="all_tools",
        answer="Done.",
        steps=[],
        created=1.0,
        request_id="req-1",
    )
    store = sessions_with(kept(1, "Q").model_copy(update={"turns": [turn, *kept(1, "Q").turns]}))
    async with client_of(fake_parts(sessions=store)) as client:
        marked, plain = (await client.get(f"/v1/sessions/{kept(1).id}")).json()["turns"]
    assert marked["marks"] == {
        "points": [[0.5, 0.25]],
        "point_labels": [0],
        "boxes": [[0.1, 0.1, 0.4, 0.5]],
        "mask": handles["mask"],
        "reference_image": handles["example"],
        "reference_mask": handles["over"],
    }
    assert (marked["image_names"], marked["mode"]) == (["desk"], "all_tools")
    assert not any(plain["marks"].values())


async def test_a_replay_asks_the_questions_again_in_a_new_session() -> None:
    turns = ScriptedTurns(["An answer."])
    store = sessions_with(kept(1, "First", "Second", instructions="Be brief."))
    async with client_of(fake_parts(turns, sessions=store)) as client:
        body = (await client.post(f"/v1/sessions/{kept(1).id}/replay")).json()
    assert [request.text for request, _, _ in turns.asked] == ["First", "Second"]
    assert turns.asked[0][1].instructions == "Be brief."
    assert body["replay_of"] == kept(1).id
    assert body["id"] != kept(1).id
    assert body["id"] in store.kept


async def test_a_replay_starts_from_the_messages_that_the_client_brought_along() -> None:
    images = FakeImages()
    handle = (await images.put(picture(), owner=ANONYMOUS)).id
    brought = (UserTurn(text="Before", images=(handle,)), AssistantTurn(output=PlannerOutput(value="Yes.")))
    asked = (UserTurn(text="First"), AssistantTurn(output=PlannerOutput(value="First!")))
    store, turns = sessions_with(kept(1, "First", conversation=brought + asked)), ScriptedTurns(["An answer."])
    async with client_of(fake_parts(turns, sessions=store, images=images)) as client:
        path = f"/v1/sessions/{kept(1).id}/replay"
        assert (await client.post(path)).status_code == 200
        images.kept.clear()
        gone = await client.post(path)
    ((request, session, _),) = turns.asked
    assert (request.text, session.conversation, session.images) == ("First", brought, [handle])
    assert gone.status_code == 404


async def test_a_message_to_a_session_that_is_busy_for_too_long_is_a_conflict() -> None:
    store = sessions_with(kept(1, "Q"))
    store.busy.add(kept(1).id)
    async with client_of(fake_parts(sessions=store)) as client:
        body = {"messages": [question("Hi")], "session_id": kept(1).id}
        response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "session_busy"
    assert "Retry-After" in response.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_whose_lock_was_lost_does_not_overwrite_the_session(stream: bool) -> None:
    store = sessions_with(kept(1, "Q"))
    store.hold.lost = True
    async with client_of(fake_parts(sessions=store)) as client:
        body = {"messages": [question("Hi")], "session_id": kept(1).id, "stream": stream}
        response = await client.post("/v1/chat/completions", json=body)
    assert "session_busy" in response.text
    assert len(store.kept[kept(1).id].turns) == 1


@pytest.mark.parametrize(("stream", "again"), [(False, False), (False, True), (True, False), (True, True)])
async def test_a_message_with_an_idempotency_key_is_run_once(stream: bool, again: bool) -> None:
    turns = ScriptedTurns(["Hel", "lo"])
    async with client_of(fake_parts(turns)) as client:
        headers = {"Idempotency-Key": "key-1"}
        answers = [
            await client.post(
                "/v1/chat/completions", json={"messages": [question("Hi")], "stream": how}, headers=headers
            )
            for how in (stream, again)
        ]
    assert len(turns.asked) == 1
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert answers[0].headers["X-Session-Id"] == answers[1].headers["X-Session-Id"]
    if again:
        *chunks, done = [line.removeprefix("data: ") for line in answers[1].text.split("\n\n") if line]
        assert done == "[DONE]"
        assert json.loads(chunks[0])["choices"][0]["delta"]["content"] == "Hello"
        assert json.loads(chunks[-1])["session_id"] == answers[0].headers["X-Session-Id"]
    else:
        assert answers[1].json()["choices"][0]["message"]["content"] == "Hello"


async def test_a_message_that_failed_is_run_again() -> None:
    turns = ScriptedTurns([KeyError("secret")])
    async with client_of(fake_parts(turns)) as client:
        for _ in range(2):
            await client.post(
                "/v1/chat/completions", json={"messages": [question("Hi")]}, headers={"Idempotency-Key": "k"}
            )
    assert len(turns.asked) == 2


async def overlay_client(images: FakeImages, **record: Any) -> tuple[httpx.AsyncClient, str]:
    handle = (await images.put(picture(size=(40, 40), color="white"), owner=ANONYMOUS)).id
    call = {"id": "call_1", "skill": "find", "images": {"image": handle}, "result": record}
    step = StepRecord(thoughts="", actions=[], value="", results=[call], planner_ms=1.0)
    turn = kept(1, "Q").turns[0].model_copy(update={"steps": [step]})
    store = sessions_with(kept(1).model_copy(update={"turns": [turn]}))
    return client_of(fake_parts(images=images, sessions=store)), handle


async def test_an_overlay_draws_the_boxes_and_masks_of_a_call() -> None:
    import numpy as np

    half = np.zeros((40, 40), bool)
    half[:, :10] = True
    mask = MaskRLE.from_array(half).model_dump(mode="json")
    client, handle = await overlay_client(FakeImages(), boxes=[[0.5, 0.5, 1.0, 1.0]], phrases=["cat"], masks_rle=[mask])
    async with client:
        path, params = f"/v1/images/{handle}", {"variant": "overlay", "session_id": kept(1).id}
        drawn = decode((await client.get(path, params=params)).content)
        same = decode((await client.get(path, params=params | {"call": "call_1"})).content)
        other = await client.get(path, params=params | {"call": "call_2"})
        unnamed = await client.get(path, params={"variant": "overlay"})
    assert drawn.tobytes() == same.tobytes()
    assert drawn.getpixel((30, 5)) == (255, 255, 255)
    assert drawn.getpixel((2, 2)) != (255, 255, 255), "the mask"
    assert drawn.getpixel((39, 39)) != (255, 255, 255), "the box"
    assert (other.status_code, other.json()["error"]["code"]) == (404, "nothing_to_draw")
    assert (unnamed.status_code, unnamed.json()["error"]["param"]) == (400, "session_id")


async def test_results_that_cannot_be_drawn_are_left_out() -> None:
    client, handle = await overlay_client(FakeImages(), boxes="nonsense", masks_rle=[{"size": [1, 1], "counts": "?"}])
    async with client:
        params = {"variant": "overlay", "session_id": kept(1).id}
        assert (await client.get(f"/v1/images/{handle}", params=params)).status_code == 404


async def test_a_thumbnail_is_small_and_the_original_unchanged() -> None:
    images, data = FakeImages(), picture(size=(1000, 500))
    handle = (await images.put(data, owner=ANONYMOUS)).id
    async with client_of(fake_parts(images=images)) as client:
        small = await client.get(f"/v1/images/{handle}", params={"variant": "thumbnail"})
        assert decode(small.content).size == (256, 128)
        assert small.headers["content-type"] == "image/jpeg"
        assert (await client.get(f"/v1/images/{handle}")).content == data
        info = (await client.get(f"/v1/images/{handle}/info")).json()
    assert (info["owner"], info["lineage"]) == (ANONYMOUS, None)
