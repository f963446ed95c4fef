"""Skills that find, cut out and paint, and a planner that uses them when it is told to; for clients that show it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from gateway.ports import ImageStore, SkillOutcome
from planner.api import PlannerDelta, PlannerDone, PlanRequest
from planner.conversation import ObservationTurn, UserTurn
from planner.format import Action, PlannerOutput
from services.core.context import CallContext
from services.core.images import encode
from services.core.spec import Symbol
from tests.orchestration_fakes import Skills

EDIT_COLOUR = (10, 20, 200)
PLANS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "find": ("find", {"caption": "cat . dog"}),
    "cut": ("cut", {"boxes": "$user.boxes"}),
    "paint": ("edit", {"prompt": "blue"}),
    "map": ("map", {}),
}


class StoredSkills(Skills):
    """Pictures that it makes are really there, blue, 60 x 40."""

    store: ImageStore | None = None

    async def ready(self) -> Mapping[str, bool]:
        return {spec.name: True for spec in self.specs()}

    def with_store(self, store: ImageStore) -> StoredSkills:
        self.store = store
        return self

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        outcome = await super().call(skill, args, images, context)
        if not outcome.pictures:
            return outcome
        assert self.store is not None
        info = await self.store.put(encode(Image.new("RGB", (60, 40), EDIT_COLOUR)), owner=context.owner)
        made = dict.fromkeys(outcome.pictures, info.id)
        return replace(outcome, result=outcome.result | made, pictures=made)


class ToldPlanner:
    """Uses the tool whose word is in the question, and says what came of it; else it repeats the question."""

    model = "told-planner"

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        last = request.conversation[-1]
        if isinstance(last, UserTurn):
            for word, (skill, params) in PLANS.items():
                if word in last.text:
                    action = Action(API_name=skill, API_params=params)
                    yield PlannerDone(PlannerOutput(thoughts=f"I will {word}.", actions=(action,)), 10, 5)
                    return
            pieces = [f"{len(last.images)} new picture(s). ", f"You asked: {last.text}"]
        else:
            assert isinstance(last, ObservationTurn)
            pieces = ["Done ", f"with {last.observations[0].skill}."]
        for piece in pieces:
            yield PlannerDelta(piece)
        yield PlannerDone(PlannerOutput(thoughts="I can answer.", value="".join(pieces)), 10, 5)

    async def ready(self) -> bool:
        return True
