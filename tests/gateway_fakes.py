"""Small implementations of the gateway's ports for tests, and pictures to send."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from pydantic import Field

from gateway.errors import FetchRefused, JobNotFound, JobQueueFull, SessionBusy, SessionLockLost, SessionNotFound
from gateway.orchestrator.events import AnswerDelta, TurnEvent, TurnFinished, TurnRequest, Usage
from gateway.parts import GatewayParts
from gateway.ports import SkillOutcome, StoredImage, TurnRunner
from gateway.settings import GatewaySettings
from gateway.state.answers import KeptAnswer
from gateway.state.job_models import Job, JobWork
from gateway.state.locks import Hold
from gateway.state.models import ImageInfo, ListedSession, Session, StepRecord
from planner.api import PlannerDelta, PlannerDone, PlanRequest
from planner.conversation import ObservationTurn, UserTurn
from planner.format import Action, PlannerOutput
from services.core.context import CallContext
from services.core.errors import ImageNotFound, UnknownSkill
from services.core.images import image_id
from services.core.skill import Skill
from services.core.spec import SkillSpec, Symbol
from services.core.types import ImageSize, SkillArgs, SkillResult


def picture(
    image_format: str = "PNG", size: tuple[int, int] = (32, 24), mode: str = "RGB", color: Any = "red"
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, image_format)
    return buffer.getvalue()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def question(text: str, *urls: str) -> dict[str, Any]:
    """A user message with a text and pictures."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


class ReadArgs(SkillArgs):
    languages: tuple[str, ...] = Field(default=("en",), max_length=2)


class ReadResult(SkillResult):
    texts: list[str]


class Reader(Skill[ReadArgs, ReadResult]):
    """Reads the text in a picture."""

    name = "reader"
    aliases = ("ocr",)
    Args = ReadArgs
    Result = ReadResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class PaintArgs(SkillArgs):
    prompt: str = Field(min_length=1)
    steps: int = Field(default=4, ge=1)


class PaintResult(SkillResult):
    edited_image: str


class Painter(Skill[PaintArgs, PaintResult]):
    """Paints over a part of a picture."""

    name = "painter+mask"
    consumes = frozenset({Symbol.IMAGE, Symbol.MASK})
    Args = PaintArgs
    Result = PaintResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


@dataclass
class FakeSkills:
    """Offers `reader` and `painter+mask`; `fails` is raised by every call."""

    fails: Exception | None = None
    available: bool = True
    calls: list[tuple[str, dict[str, Any], dict[Symbol, str], CallContext]] = field(default_factory=list)

    def specs(self) -> Sequence[SkillSpec]:
        return [Painter.spec(), Reader.spec()]

    def resolve(self, name: str) -> SkillSpec:
        for spec in self.specs():
            if name in spec.names:
                return spec
        raise UnknownSkill(f"No tool is called {name!r}. Known tools: painter+mask, reader.")

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        self.calls.append((skill, dict(args), dict(images), context))
        if self.fails is not None:
            raise self.fails
        return SkillOutcome(skill, {"texts": ["STOP"]}, "fake/weights", compute_ms=3.0, wait_ms=1.0, batch_size=2)

    async def warm(self, skill: str) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return {spec.name: self.available for spec in self.specs()}


@dataclass
class FakePlanner:
    """Has text read when asked to, tells what was read, and otherwise repeats the question.

    Asked to "hang" it says one word and then waits until it is cancelled; that sets `cancelled`.
    """

    available: bool = True
    fails: Exception | None = None
    model: str = "fake-planner"
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        if self.fails is not None:
            raise self.fails
        last = request.conversation[-1]
        pictures = sum(len(turn.images) for turn in request.conversation if isinstance(turn, UserTurn))
        if isinstance(last, UserTurn) and last.text == "hang":
            try:
                yield PlannerDelta("Well")
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if isinstance(last, UserTurn) and "read" in last.text:
            action = Action(API_name="reader", API_params={})
            yield PlannerDone(PlannerOutput(thoughts="I need the text.", actions=(action,)), 10, 5)
            return
        if isinstance(last, ObservationTurn):
            pieces = ["It says ", str(last.observations[0].content["texts"][0]), "."]
        else:
            assert isinstance(last, UserTurn)
            pieces = [f"I see {pictures} picture(s). ", f"You asked: {last.text}"]
        for piece in pieces:
            yield PlannerDelta(piece)
        yield PlannerDone(PlannerOutput(thoughts="I can answer.", value="".join(pieces)), 10, 5)

    async def ready(self) -> bool:
        return self.available


class FakeImages:
    """Keeps pictures in memory and looks at none of them."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredImage] = {}

    async def put(self, data: bytes, *, owner: str, lineage: Mapping[str, Any] | None = None) -> ImageInfo:
        size = ImageSize(width=32, height=24)
        handle = image_id(data, owner)
        info = ImageInfo(
            id=handle, owner=owner, size=size, media_type="image/png", bytes=len(data), created=1.0, expires=2.0
        )
        info = info.model_copy(update={"lineage": dict(lineage) if lineage is not None else None})
        self.kept[handle] = StoredImage(info, data)
        return info

    async def get(self, image_id: str, *, owner: str) -> StoredImage:
        if image_id not in self.kept:
            raise ImageNotFound(f"No picture {image_id}.")
        return self.kept[image_id]

    async def info(self, image_id: str, *, owner: str) -> ImageInfo:
        return (await self.get(image_id, owner=owner)).info


@dataclass
class FakeWeb:
    """Fetches what `pages` has; any other URL is refused."""

    pages: dict[str, bytes] = field(default_factory=dict)

    async def fetch(self, url: str) -> bytes:
        if url not in self.pages:
            raise FetchRefused("there is no public address under this name")
        return self.pages[url]


class FakeSessions:
    """Keeps sessions in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Session] = {}
        self.created = 0
        self.available = True
        self.busy: set[str] = set()
        self.hold = Hold("lock", "token")
        self.answers: dict[str, KeptAnswer] = {}

    async def create(self, *, owner: str) -> Session:
        self.created += 1
        return Session(id=f"sess_{self.created:032x}", owner=owner, created=time.time())

    async def get(self, session_id: str, *, owner: str) -> Session:
        if session_id not in self.kept:
            raise SessionNotFound("No such session.", param="session_id")
        return self.kept[session_id]

    async def save(self, session: Session, *, hold: Hold | None = None, answer: KeptAnswer | None = None) -> None:
        if hold is not None and hold.lost:
            raise SessionLockLost
        if answer is not None:
            self.answers[answer.key] = answer
        self.kept[session.id] = session

    @asynccontextmanager
    async def locked(self, session_id: str) -> AsyncIterator[Hold]:
        if session_id in self.busy:
            raise SessionBusy
        yield self.hold

    async def page(self, *, owner: str, limit: int, after: str | None = None) -> Sequence[ListedSession]:
        ids = list(reversed(self.kept))
        start = ids.index(after) + 1 if after else 0
        expires = time.time() + 60
        return [ListedSession(session=self.kept[one], expires=expires) for one in ids[start : start + limit]]

    async def delete(self, session_id: str, *, owner: str) -> None:
        await self.get(session_id, owner=owner)
        del self.kept[session_id]

    async def ready(self) -> bool:
        return self.available


@dataclass
class FakeAnswer:
    key: str
    known: dict[str, Any] | None

    def kept(self, answer: dict[str, Any]) -> KeptAnswer:
        return KeptAnswer(self.key, json.dumps(answer), 60, Hold("lock", "token"))


class FakeJobs:
    """Takes no jobs, and has none."""

    async def take(self) -> None:
        return None

    async def submit(
        self, work: JobWork, *, owner: str, kept: Callable[[dict[str, Any]], KeptAnswer] | None = None
    ) -> Job:
        raise JobQueueFull(0)

    async def get(self, job_id: str, *, owner: str) -> Job:
        raise JobNotFound

    async def result(self, job_id: str, *, owner: str) -> bytes:
        raise JobNotFound

    async def cancel(self, job_id: str, *, owner: str) -> Job:
        raise JobNotFound

    async def page(self, *, owner: str, limit: int, after: str | None = None) -> Sequence[Job]:
        return []


class FakeAnswers:
    """Finds the answers that were stored with sessions."""

    def __init__(self, sessions: FakeSessions) -> None:
        self.sessions = sessions

    @asynccontextmanager
    async def answering(self, key: str, body: bytes, *, owner: str) -> AsyncIterator[FakeAnswer]:
        found = self.sessions.answers.get(key)
        yield FakeAnswer(key, json.loads(found.data) if found else None)


@dataclass
class ScriptedTurns:
    """A turn runner that yields what `script` says and remembers what it was asked.

    An exception in the script is raised at its place, a coroutine function is awaited.
    """

    script: Sequence[Any] = ("An answer.",)
    asked: list[tuple[TurnRequest, Session, CallContext]] = field(default_factory=list)
    closed: Callable[[], None] = lambda: None

    async def run(
        self, request: TurnRequest, session: Session, context: CallContext
    ) -> AsyncGenerator[TurnEvent, None]:
        self.asked.append((request, session, context))
        answer = ""
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, str):
                    answer += item
                    yield AnswerDelta(item)
                elif callable(item):
                    await item()
                else:
                    yield item
            step = StepRecord(thoughts="Because.", actions=[], value=answer, planner_ms=5.0)
            yield TurnFinished(answer, session, [step], Usage(7, 3))
        finally:
            self.closed()


def fake_parts(orchestrator: TurnRunner | None = None, **changes: Any) -> GatewayParts:
    sessions = changes.get("sessions") or FakeSessions()
    given: dict[str, Any] = {
        "planner": FakePlanner(),
        "skills": FakeSkills(),
        "images": FakeImages(),
        "sessions": sessions,
        "answers": FakeAnswers(sessions),
        "jobs": FakeJobs(),
        "orchestrator": orchestrator or ScriptedTurns(),
        "settings": GatewaySettings(),
    }
    return GatewayParts(**(given | changes))
