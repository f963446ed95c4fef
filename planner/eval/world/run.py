"""Asks a running platform the questions of the embedded world, and checks its answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planner.eval.command import EvaluationError, offered
from planner.eval.gateway import (
    CannotAnswer,
    PlatformGone,
    Reply,
    boxes_part,
    picture_part,
    points_part,
    reference_part,
)
from planner.eval.journal import Journal, fingerprint
from planner.eval.matching import Tools
from planner.eval.parallel import each
from planner.eval.world.faults import CANNOT_BE_CHECKED, REFUSED, fault, made_by, planned, said_by_skills
from planner.eval.world.turns import Dialogue, Scenes, Turn
from services.embedded.world.concepts import BACKGROUNDS

PAUSES_S = (5.0, 20.0, 60.0)
"""How long to wait for a platform that is away: a gateway is back within a minute of its restart."""
SAID_MAX = 8
"""Most of the skills' words that are kept of a wrong answer."""

NEEDS: Mapping[str, tuple[str, ...]] = {
    "detection": ("grounding_dino",),
    "semantic_segmentation": ("openseed",),
    "instance_segmentation": ("grounding_dino+sam",),
    "caption_grounding": ("blip2+grounding_dino",),
    "tagging_grounding": ("ram+grounding_dino",),
    "caption": ("blip2",),
    "tagging": ("ram",),
    "ocr": ("easyocr",),
    "retrieval": ("clip_retrieval",),
    "generation": ("stable_diffusion",),
    "editing": ("instruct_pix2pix",),
    "interactive_segmentation": ("sam",),
    "multi_granularity": ("semantic_sam",),
    "example_segmentation": ("seem",),
    "mixed_turns": ("ram", "grounding_dino", "grounding_dino+sam", "blip2"),
    "segment_inpaint": ("sam", "inpainting"),
    "segment_generate": ("openseed", "controlnet"),
    "generate_post": ("stable_diffusion",),
    "edit_post": ("instruct_pix2pix",),
    "conversation": (),
}
"""The skills without which a row cannot be right."""


def askable(made: Sequence[Dialogue], offered: Sequence[str]) -> list[Dialogue]:
    """Those whose row's skills a platform offers: asking the others would score what it does not have."""
    return [dialogue for dialogue in made if set(NEEDS[dialogue.row]) <= set(offered)]


@dataclass(frozen=True)
class LeftOut:
    """The questions of a row that are not asked, and the skills that are not offered."""

    questions: int
    skills: tuple[str, ...]


def left_out(made: Sequence[Dialogue], offered: Sequence[str]) -> dict[str, LeftOut]:
    """By row, what is not asked for want of its skills."""
    able = {dialogue.id for dialogue in askable(made, offered)}
    counts = Counter[str]()
    for dialogue in made:
        if dialogue.id not in able:
            counts[dialogue.row] += len(dialogue.turns)
    lacking = {row: tuple(skill for skill in NEEDS[row] if skill not in offered) for row in counts}
    return {row: LeftOut(count, lacking[row]) for row, count in counts.items()}


class Platform(Protocol):
    """What questions are asked of; `planner.eval.gateway.GatewayClient` in most runs."""

    async def upload(self, data: bytes, name: str = "picture.png") -> str: ...

    async def picture(self, handle: str) -> bytes: ...

    async def tool(self, name: str, image: str | None, arguments: Mapping[str, Any]) -> dict[str, Any]: ...

    async def chat(
        self,
        text: str,
        parts: Sequence[Mapping[str, Any]] = (),
        *,
        session: str | None = None,
        earlier: Sequence[Mapping[str, Any]] = (),
        mode: str | None = None,
    ) -> Reply: ...


class SkillEyes:
    """Implements `planner.eval.world.turns.Eyes` with the platform's detector and tagger."""

    def __init__(self, client: Platform) -> None:
        self._client = client

    async def finds(self, handle: str, phrase: str) -> list[list[float]]:
        result = await self._client.tool("grounding_dino", handle, {"caption": phrase})
        return [list(box) for box in result["boxes"]]

    async def scene(self, handle: str) -> str | None:
        tags = (await self._client.tool("ram", handle, {}))["tags"]
        return next((tag for tag in tags if tag in BACKGROUNDS), None)

    async def pixels(self, handle: str) -> NDArray[np.uint8]:
        with Image.open(BytesIO(await self._client.picture(handle))) as opened:
            return np.asarray(opened.convert("RGB"))


@dataclass(frozen=True)
class Job:
    """A dialogue to be had with a platform, and where what was said is kept."""

    dialogue: Dialogue
    platform: Platform
    journal: Journal


async def ask_all(
    made: Sequence[Dialogue],
    scenes: Scenes,
    client: Platform,
    journal: Journal,
    *,
    at_once: int = 1,
    mode: str | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Ask one platform everything; see `ask_jobs`."""
    jobs = [Job(dialogue, client, journal) for dialogue in made]
    await ask_jobs(jobs, scenes, at_once=at_once, mode=mode, tell=tell, until=until)


async def ask_jobs(
    jobs: Sequence[Job],
    scenes: Scenes,
    *,
    at_once: int = 1,
    mode: str | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
    until: Callable[[], bool] = lambda: False,
    pauses_s: Sequence[float] = PAUSES_S,
) -> None:
    """Ask what the journals do not have yet; a dialogue that was cut is asked from its start.

    The rows are mixed, and the same dialogue with several platforms is had one after the other: what has been asked
    when a run is cut is then like the whole, and the time that is left can be told.

    Args:
        mode: `fly` or `all_tools`; the platform's own when None.
        until: is asked before every dialogue; nothing new is begun once it says yes.
        pauses_s: a dialogue in which the platform goes away is begun anew after these times; one in which it says that
            it cannot answer now once. A question that even then has no answer counts as refused.

    Raises:
        PlatformGone, CannotAnswer: the platform stays away, or takes no pictures; what was kept stays.
    """
    waiting = [job for job in jobs if job.dialogue.id not in job.journal]
    waiting.sort(key=lambda job: fingerprint(job.dialogue.id))
    tools = Tools(offered(()))

    async def ask(job: Job) -> None:
        refused = False
        for pause_s in (*pauses_s, None):
            last = refused or pause_s is None
            dialogue = _Asking(job.dialogue, scenes, job.platform, tools, mode, last=last)
            try:
                turns = await dialogue.turns()
            except (PlatformGone, CannotAnswer) as error:
                if pause_s is None:
                    raise
                refused = refused or isinstance(error, CannotAnswer)
                await asyncio.sleep(pause_s)
            else:
                job.journal.keep(job.dialogue.id, {"row": job.dialogue.row, "turns": turns})
                return

    await each(waiting, ask, at_once=at_once, known=len(jobs) - len(waiting), tell=tell, until=until)


class _Asking:
    """One try at a dialogue, in a session of its own.

    Args:
        last: a question that the platform cannot answer now is one that it refused.
    """

    def __init__(
        self, dialogue: Dialogue, scenes: Scenes, client: Platform, tools: Tools, mode: str | None, *, last: bool
    ) -> None:
        self._dialogue = dialogue
        self._scenes = scenes
        self._client = client
        self._eyes = SkillEyes(client)
        self._tools = tools
        self._mode = mode
        self._last = last

    async def turns(self) -> list[dict[str, Any]]:
        """What was asked, said and called, and what is wrong with it."""
        session: str | None = None
        records: list[dict[str, Any]] = []
        for place, turn in enumerate(self._dialogue.turns):
            parts = await _parts(turn, self._dialogue.scene if place == 0 else None, self._scenes, self._client)
            begun = time.monotonic()
            reply = await self._reply(turn, parts, session)
            seconds = time.monotonic() - begun
            session = reply.session or session
            records.append(await self._judged(turn, reply) | {"seconds": round(seconds, 2)})
        return records

    async def _reply(self, turn: Turn, parts: Sequence[Mapping[str, Any]], session: str | None) -> Reply:
        try:
            return await self._client.chat(turn.text, parts, session=session, mode=self._mode)
        except CannotAnswer as error:
            if not self._last:
                raise
            return Reply(session=session, error=str(error))

    async def _judged(self, turn: Turn, reply: Reply) -> dict[str, Any]:
        wrong, plan = await self._wrong(turn, reply), planned(turn, reply, self._tools)
        made = made_by(reply)
        return {
            "question": turn.text,
            "answer": reply.answer,
            "called": [one.action.API_name for one in made],
            "arguments": [dict(one.action.API_params) for one in made],
            "failed": [f"{one.action.API_name}: {one.error}" for one in made if one.error],
            "plans": sum(step.get("kind", "plan") == "plan" for step in reply.steps),
            "struck": reply.struck,
            "wrong": wrong,
            "plan": plan,
            "fault": await fault(turn, reply, wrong, plan, self._eyes),
            "skills_said": said_by_skills(reply)[:SAID_MAX] if wrong else [],
        }

    async def _wrong(self, turn: Turn, reply: Reply) -> str:
        if reply.error:
            return f"{REFUSED}: {reply.error}"
        if not reply.answer.strip():
            return "no answer"
        try:
            return await turn.check(reply, self._eyes)
        except (EvaluationError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, PlatformGone) or (isinstance(error, CannotAnswer) and not self._last):
                raise
            # A result of an unknown form, too, is a thing to be counted and looked at: the other questions go on.
            return f"{CANNOT_BE_CHECKED}: {type(error).__name__}: {error}"


async def _parts(turn: Turn, scene: int | None, scenes: Scenes, client: Platform) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if scene is not None:
        parts.append(picture_part(await client.upload(png(scenes[scene].image))))
    if turn.given.points:
        parts.append(points_part(turn.given.points))
    if turn.given.boxes:
        parts.append(boxes_part(turn.given.boxes))
    if turn.given.example is not None:
        number, mask = turn.given.example
        parts.append(reference_part(await client.upload(png(scenes[number].image)), mask))
    return parts


def png(pixels: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(np.asarray(pixels)).save(out, "PNG")
    return out.getvalue()
