"""What a turn makes of the troubles around it: a store that is away, replicas that die, pictures that are gone."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from gateway.errors import BadImage, StateUnavailable
from gateway.orchestrator.events import AnswerDelta, TurnFinished, TurnRequest
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.settings import GatewaySettings
from gateway.state.history import without_pictures
from gateway.state.models import ImageInfo, SessionPicture
from planner.api import PlannerDelta, PlannerDone, PlannerUnavailable, PlanRequest
from planner.conversation import AssistantTurn, UserTurn
from planner.format import PlannerOutput, UnparsableOutput
from planner.serve_engine import ServeEngine
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from services.core.errors import SkillUnavailable
from services.core.handles import AppHandle, AppStatus, ReplicaDied
from services.core.spec import Symbol
from services.core.types import MaskRLE
from tests.gateway_fakes import FakeImages
from tests.orchestration_fakes import (
    OTHER,
    SENT,
    SIZE,
    Script,
    Skills,
    act,
    answer,
    mask,
    new_session,
    results,
    run_turn,
)


class TroubledImages(FakeImages):
    """Takes no picture."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def put(self, data: bytes, *, owner: str, lineage: Mapping[str, Any] | None = None) -> ImageInfo:
        raise self.error


async def turn_with(planner: Any, images: FakeImages, skills: Skills | None = None) -> TurnFinished:
    orchestrator = Orchestrator(planner, skills or Skills(), images, GatewaySettings())
    context = CallContext("req-1", "me", time.time() + 30)
    events = [event async for event in orchestrator.run(TurnRequest("?", (SENT,)), new_session(), context)]
    finished = events[-1]
    assert isinstance(finished, TurnFinished)
    return finished


@pytest.mark.parametrize(
    ("error", "told", "note"),
    [
        (StateUnavailable(), "cut: the store of pictures does not answer. Try again.", "it is not available now"),
        (BadImage("Too large."), "cut gave what cannot be stored: Too large.", "it failed"),
    ],
)
async def test_a_mask_that_cannot_be_stored_fails_its_call_and_not_the_turn(
    error: Exception, told: str, note: str
) -> None:
    planner = Script(act(("cut", {}), ("find", {"caption": "cat"})), answer("Two things."))
    finished = await turn_with(planner, TroubledImages(error))
    assert planner.told()[0] == told
    assert "boxes" in planner.told()[1]
    assert finished.answer == f"Two things.\n\nNot done: cut ({note})."


@pytest.mark.parametrize("store_fails", [True, False])
async def test_a_skill_call_that_meets_no_store_is_a_failed_call(store_fails: bool) -> None:
    given = results()
    if store_fails:
        given["edit"] = StateUnavailable()
    planner = Script(act(("edit", {"prompt": "night"})), answer("It is night."))
    finished = await turn_with(planner, FakeImages(), Skills(given))
    assert ("Not done: edit (it is not available now)." in finished.answer) is store_fails


async def test_masks_that_do_not_belong_together_are_a_failure_of_their_skill() -> None:
    given = results()
    inside = MaskRLE.from_array(MaskRLE.model_validate(mask(0)).to_array()[:2]).model_dump(mode="json")
    given["cut"] = {"masks_rle": [mask(0), inside], "size": SIZE}
    planner = Script(act(("cut", {})), answer("Cut."))
    finished = await turn_with(planner, FakeImages(), Skills(given))
    assert planner.told() == ["cut gave a result that is not of its own form."]
    assert finished.answer == "Cut.\n\nNot done: cut (it failed)."


class BreaksOff:
    """Calls a skill, and goes away in the middle of the answer."""

    model = "breaks-off"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.plans = [act(("find", {"caption": "cat"}))]

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        if self.plans:
            yield PlannerDone(self.plans.pop(), 1, 1)
            return
        yield PlannerDelta("There are")
        raise self.error

    async def ready(self) -> bool:
        return True


@pytest.mark.parametrize("error", [PlannerUnavailable("gone"), UnparsableOutput("no object", "There are")])
async def test_an_answer_that_breaks_off_says_so(error: Exception) -> None:
    events, finished = await run_turn(BreaksOff(error), Skills())
    assert finished.answer == "There are\n\nThe answer broke off."
    assert finished.finish_reason == "length"
    assert "".join(event.text for event in events if isinstance(event, AnswerDelta)) == finished.answer


def test_a_session_goes_on_without_pictures_that_are_gone() -> None:
    session = new_session(
        conversation=(
            UserTurn(text="Which is larger?", images=(SENT, OTHER)),
            AssistantTurn(output=PlannerOutput(value="The first.")),
            UserTurn(text="Why?"),
        ),
        images=[SENT, OTHER],
        pictures=[SessionPicture(number=1, handle=SENT), SessionPicture(number=2, handle=OTHER)],
        symbols={Symbol.MASK: SENT},
    )
    left = without_pictures(session, {SENT})
    assert left.conversation[0] == UserTurn(
        text="Which is larger?\n(1 picture of this message is no longer kept.)", images=(OTHER,)
    )
    assert left.conversation[1:] == session.conversation[1:]
    assert left.images == [OTHER]
    assert left.pictures == [SessionPicture(number=2, handle=OTHER)]
    assert left.symbols == {}
    assert without_pictures(session, set()) == session


ASKED = EngineRequest(messages=[], schema=None, max_tokens=5, temperature=0.0, seed=None, request_id="req-1")


@pytest.mark.parametrize(
    ("replicas", "heard"),
    [
        ([ReplicaDied("lost"), ["Hello"]], ["Hello"]),
        ([ReplicaDied("lost"), ReplicaDied("lost too")], "lost too"),
        ([["Hel", ReplicaDied("lost")], ["Hello"]], "lost"),
        ([SkillUnavailable("not running yet"), ["Hello"]], "not running yet"),
    ],
)
async def test_a_planner_replica_that_dies_before_it_has_said_anything_is_asked_once_more(
    replicas: list[Any], heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stream(self: AppHandle, method: str, payload: Any, deadline: float) -> AsyncGenerator[Any, None]:
        replica = replicas.pop(0)
        for item in replica if isinstance(replica, list) else [replica]:
            if isinstance(item, Exception):
                raise item
            yield EngineChunk(text=item).to_wire()

    monkeypatch.setattr(AppHandle, "stream", stream)
    chunks = ServeEngine("planner", AppStatus()).generate(ASKED, CallContext("req-1", "me", time.time() + 30))
    if isinstance(heard, list):
        assert [chunk.text async for chunk in chunks] == heard
        return
    with pytest.raises(PlannerUnavailable, match=heard):
        _ = [chunk async for chunk in chunks]
