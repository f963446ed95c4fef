"""Asks a running platform the questions of the embedded world, and checks its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planner.eval.command import EvaluationError
from planner.eval.gateway import Reply, boxes_part, picture_part, points_part, reference_part
from planner.eval.journal import Journal
from planner.eval.parallel import each
from planner.eval.world.turns import Dialogue, Scenes, Turn
from services.embedded.world.concepts import BACKGROUNDS

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
    """Ask what the journal does not have yet; a dialogue that was cut is asked from its start.

    Args:
        mode: `fly` or `all_tools`; the platform's own when None.
        until: is asked before every dialogue; nothing new is begun once it says yes.
    """
    waiting = [dialogue for dialogue in made if dialogue.id not in journal]
    eyes = SkillEyes(client)

    async def ask(dialogue: Dialogue) -> None:
        turns = await _asked(dialogue, scenes, client, eyes, mode)
        journal.keep(dialogue.id, {"row": dialogue.row, "turns": turns})

    await each(waiting, ask, at_once=at_once, known=len(made) - len(waiting), tell=tell, until=until)


async def _asked(
    dialogue: Dialogue, scenes: Scenes, client: Platform, eyes: SkillEyes, mode: str | None
) -> list[dict[str, Any]]:
    session: str | None = None
    turns: list[dict[str, Any]] = []
    for place, turn in enumerate(dialogue.turns):
        parts = await _parts(turn, dialogue.scene if place == 0 else None, scenes, client)
        reply = await client.chat(turn.text, parts, session=session, mode=mode)
        session = reply.session or session
        turns.append(
            {
                "question": turn.text,
                "answer": reply.answer,
                "called": [action["API_name"] for action in reply.actions],
                "plans": sum(step.get("kind", "plan") == "plan" for step in reply.steps),
                "struck": reply.struck,
                "wrong": await _wrong(turn, reply, eyes),
            }
        )
    return turns


async def _wrong(turn: Turn, reply: Reply, eyes: SkillEyes) -> str:
    if reply.error:
        return f"refused: {reply.error}"
    if not reply.answer.strip():
        return "no answer"
    try:
        return await turn.check(reply, eyes)
    except EvaluationError as error:
        return f"cannot be checked: {error}"


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
