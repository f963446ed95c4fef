"""Skills that answer at once, one of each kind that plans combine, and a planner that says what a test scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import AliasChoices, Field

from gateway.orchestrator.events import TurnEvent, TurnFinished, TurnRequest
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.ports import SkillOutcome
from gateway.settings import GatewaySettings
from gateway.state.models import Session
from planner.api import PlannerDelta, PlannerDone, PlanRequest
from planner.format import Action, PlannerOutput
from services.core.context import CallContext
from services.core.errors import UnknownSkill
from services.core.skill import Skill
from services.core.spec import SkillSpec, Symbol
from services.core.types import Box, ImageSize, MaskRLE, Picture, Point, SkillArgs, SkillResult
from tests.gateway_fakes import FakeImages

SENT = "img_" + "a" * 40
OTHER = "img_" + "b" * 40
PAINTED = "img_" + "c" * 40
MAPPED = "img_" + "d" * 40
BOXES = [[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.9, 0.9]]
SIZE = {"width": 4, "height": 4}


class FindArgs(SkillArgs):
    caption: str
    box_threshold: float = Field(0.3, ge=0.0, le=1.0)


class FindResult(SkillResult):
    boxes: list[Box]
    phrases: list[str]
    size: ImageSize


class Find(Skill[FindArgs, FindResult]):
    """Finds what a caption names."""

    name = "find"
    aliases = ("detector",)
    Args = FindArgs
    Result = FindResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class CutArgs(SkillArgs):
    boxes: tuple[Box, ...] | None = Field(None, max_length=8)
    points: tuple[tuple[Point, ...], ...] | None = None
    point_labels: tuple[tuple[Literal[0, 1], ...], ...] | None = None


class CutResult(SkillResult):
    masks_rle: list[MaskRLE]
    size: ImageSize


class Cut(Skill[CutArgs, CutResult]):
    """Cuts out what is in boxes or at points."""

    name = "cut"
    produces = frozenset({Symbol.MASK})
    Args = CutArgs
    Result = CutResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class PointCutArgs(SkillArgs):
    point: tuple[Point, ...] | None = Field(None, validation_alias=AliasChoices("point", "points"))


class PointCut(Skill[PointCutArgs, CutResult]):
    """Cuts out what is at a point."""

    name = "point_cut"
    produces = frozenset({Symbol.MASK})
    Args = PointCutArgs
    Result = CutResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class PaintArgs(SkillArgs):
    prompt: str = Field(min_length=1)
    seed: int | None = None


class PaintResult(SkillResult):
    edited_image: Picture
    size: ImageSize


class Fill(Skill[PaintArgs, PaintResult]):
    """Repaints the masked part."""

    name = "fill"
    consumes = frozenset({Symbol.IMAGE, Symbol.MASK})
    produces = frozenset({Symbol.IMAGE})
    Args = PaintArgs
    Result = PaintResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class Edit(Fill):
    """Changes the picture as told."""

    name = "edit"
    consumes = frozenset({Symbol.IMAGE})


class Follow(Fill):
    """Paints a picture that follows a map."""

    name = "follow"
    consumes = frozenset({Symbol.IMAGE_SEG})


class MapResult(SkillResult):
    image_seg: Picture
    size: ImageSize


class MakeMap(Skill[SkillArgs, MapResult]):
    """Maps what every pixel belongs to."""

    name = "map"
    produces = frozenset({Symbol.IMAGE_SEG})
    Args = SkillArgs
    Result = MapResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class TagResult(SkillResult):
    tags: list[str]


class Tag(Skill[SkillArgs, TagResult]):
    """Lists what is there."""

    name = "tag"
    Args = SkillArgs
    Result = TagResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class Example(Skill[SkillArgs, CutResult]):
    """Finds what a reference picture marks."""

    name = "example"
    consumes = frozenset({Symbol.IMAGE, Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK})
    produces = frozenset({Symbol.MASK})
    Args = SkillArgs
    Result = CutResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


SKILLS: tuple[type[Skill[Any, Any]], ...] = (Cut, Edit, Example, Fill, Find, Follow, MakeMap, PointCut, Tag)
SPECS = [skill.spec() for skill in SKILLS]


def mask(*columns: int) -> dict[str, Any]:
    """A mask of 4 x 4 pixels with those columns inside."""
    inside = np.zeros((4, 4), bool)
    inside[:, columns] = True
    return MaskRLE.from_array(inside).model_dump(mode="json")


def results() -> dict[str, dict[str, Any]]:
    cut = {"masks_rle": [mask(0), mask(2)], "size": SIZE}
    painted = {"edited_image": PAINTED, "size": SIZE}
    return {
        "find": {"boxes": BOXES, "phrases": ["cat", "dog"], "size": SIZE},
        "cut": cut,
        "point_cut": cut,
        "example": cut,
        "fill": painted,
        "edit": painted,
        "follow": painted,
        "map": {"image_seg": MAPPED, "size": SIZE},
        "tag": {"tags": ["cat", "dog"]},
    }


@dataclass(frozen=True)
class Call:
    skill: str
    args: dict[str, Any]
    images: dict[Symbol, str]


@dataclass
class Skills:
    """Answers from `results`; an exception among them is raised, a coroutine function awaited first (`before`)."""

    results: dict[str, Any] = field(default_factory=results)
    before: dict[str, Callable[[], Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    warmed: list[str] = field(default_factory=list)
    offered: Sequence[SkillSpec] = field(default_factory=lambda: SPECS)

    def specs(self) -> Sequence[SkillSpec]:
        return self.offered

    def resolve(self, name: str) -> SkillSpec:
        for spec in self.offered:
            if name in spec.names:
                return spec
        raise UnknownSkill(f"No tool is called {name!r}.")

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        self.calls.append(Call(skill, dict(args), dict(images)))
        self.deadlines.append(context.deadline)
        self.log.append(f"{skill} starts")
        if skill in self.before:
            await self.before[skill]()
        else:
            await asyncio.sleep(0)
        self.log.append(f"{skill} ends")
        result = self.results[skill]
        if isinstance(result, Exception):
            raise result
        pictures = {name: result[name] for name in ("edited_image", "image_seg") if name in result}
        return SkillOutcome(skill, result, "weights", 1.0, 0.0, pictures=pictures)

    async def warm(self, skill: str) -> None:
        self.warmed.append(skill)

    async def ready(self) -> Mapping[str, bool]:
        return {}


def act(*calls: tuple[str, dict[str, Any]]) -> PlannerOutput:
    return PlannerOutput(thoughts="t", actions=tuple(Action(API_name=n, API_params=p) for n, p in calls))


def answer(text: str = "done") -> PlannerOutput:
    return PlannerOutput(thoughts="t", value=text)


class Script:
    """A planner that says one entry a call (the last one for ever) and keeps what it was asked."""

    model = "scripted"

    def __init__(self, *script: PlannerOutput | Exception) -> None:
        self.script = list(script)
        self.asked: list[PlanRequest] = []

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        self.asked.append(request)
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        if said.is_answer and said.value:
            yield PlannerDelta(said.value)
        yield PlannerDone(said, prompt_tokens=10, completion_tokens=3)

    async def ready(self) -> bool:
        return True

    def told(self, step: int = -1) -> list[str]:
        """The errors and results that the planner saw before a step."""
        observed: Any = self.asked[step].conversation[-1]
        return [str(one.content.get("error", one.content)) for one in observed.observations]


def new_session(**fields: Any) -> Session:
    return Session(id="sess_1", owner="me", created=0.0, **fields)


async def run_turn(
    planner: Any,
    skills: Skills,
    *,
    session: Session | None = None,
    images: tuple[str, ...] = (SENT,),
    seconds: float = 30.0,
    limits: Mapping[str, Any] | None = None,
    store: FakeImages | None = None,
    **request: Any,
) -> tuple[list[TurnEvent], TurnFinished]:
    orchestrator = Orchestrator(planner, skills, store or FakeImages(), GatewaySettings(**(limits or {})))
    context = CallContext("req-1", "me", time.time() + seconds)
    asked = TurnRequest(text=request.pop("text", "What is it?"), images=images, **request)
    events = [event async for event in orchestrator.run(asked, session or new_session(), context)]
    finished = events[-1]
    assert isinstance(finished, TurnFinished)
    return events, finished
