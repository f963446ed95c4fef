"""What stands behind the page in its tests: skills with the real specs that answer at once, and a scripted planner."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from gateway.ports import ImageStore, SkillOutcome
from planner.api import PlannerDelta, PlannerDone, PlannerUnavailable, PlanRequest
from planner.conversation import ObservationTurn, UserTurn
from planner.format import Action, PlannerOutput
from services.core.context import CallContext
from services.core.errors import SkillFailed, UnknownSkill
from services.core.skill import BaseSkill
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE
from services.skills.clip_retrieval import ClipRetrieval
from services.skills.easyocr import EasyOcr
from services.skills.grounding_dino import GroundingDino
from services.skills.inpainting import Inpainting
from services.skills.instruct_pix2pix import InstructPix2Pix
from services.skills.openseed import OpenSeed
from services.skills.sam import Sam
from services.skills.seem import Seem

SKILLS: tuple[type[BaseSkill[Any, Any]], ...] = (
    ClipRetrieval, EasyOcr, GroundingDino, Inpainting, InstructPix2Pix, OpenSeed, Sam, Seem,
)  # fmt: skip
PIG = (0.24, 0.46, 0.44, 0.67)
KOALA = (0.07, 0.29, 0.21, 0.48)
SKY = (70, 130, 180)
GRASS = (4, 200, 3)
POSTER_LINES = (
    ("Summer Book Fair", (0.14, 0.05, 0.86, 0.18)),
    ("Saturday 12 June", (0.28, 0.28, 0.72, 0.39)),
    ("10 am to 4 pm", (0.31, 0.41, 0.69, 0.51)),
    ("Town Library, Mill Road", (0.23, 0.53, 0.77, 0.63)),
    ("Bring a book, take a book", (0.23, 0.66, 0.76, 0.75)),
    ("Free entry for everyone", (0.26, 0.78, 0.74, 0.87)),
)


class Skills:
    """Offers the real specs; results are those that a good model gives on the example pictures."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self.calls: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._specs = sorted((skill.spec() for skill in SKILLS), key=lambda spec: spec.name)

    def specs(self) -> Sequence[SkillSpec]:
        return self._specs

    def resolve(self, name: str) -> SkillSpec:
        for spec in self._specs:
            if name in spec.names:
                return spec
        raise UnknownSkill(f"No tool is called {name!r}.")

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        self.calls.append((skill, dict(args), {str(symbol): handle for symbol, handle in images.items()}))
        opened = {}
        for symbol, handle in images.items():
            stored = await self._images.get(handle, owner=context.owner)
            opened[symbol] = Image.open(io.BytesIO(stored.data)).convert("RGB")
        result = _RESULTS[skill](args, opened)
        pictures = {}
        for name, value in result.items():
            if isinstance(value, Image.Image):
                lineage = {"skill": skill, "images": {str(one): handle for one, handle in images.items()}}
                info = await self._images.put(_png(value), owner=context.owner, lineage=lineage)
                pictures[name] = info.id
        return SkillOutcome(skill, result | pictures, "fake/weights", 12.0, 1.0, pictures=pictures)

    async def warm(self, skill: str) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return {spec.name: True for spec in self._specs}


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _size(picture: Image.Image) -> dict[str, int]:
    return {"width": picture.width, "height": picture.height}


def ellipse(box: Sequence[float], size: tuple[int, int]) -> MaskRLE:
    """A round mask that fills a box (xyxy, 0..1) of a picture of that size."""
    width, height = size
    x0, y0, x1, y1 = box
    ys, xs = np.mgrid[0:height, 0:width]
    across = (xs / width - (x0 + x1) / 2) / max((x1 - x0) / 2, 1e-6)
    down = (ys / height - (y0 + y1) / 2) / max((y1 - y0) / 2, 1e-6)
    return MaskRLE.from_array(across**2 + down**2 <= 1)


def _read(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    texts, boxes = zip(*POSTER_LINES, strict=True)
    return {
        "boxes": list(boxes),
        "texts": list(texts),
        "scores": [0.98, 0.97, 0.95, 0.96, 0.93, 0.94],
        "size": _size(images[Symbol.IMAGE]),
    }


def _found(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    known = {"pig": (PIG, 0.93), "koala": (KOALA, 0.88)}
    named = [name for name in known if name in args["caption"]]
    return {
        "boxes": [known[name][0] for name in named],
        "logits": [known[name][1] for name in named],
        "phrases": named,
        "size": _size(images[Symbol.IMAGE]),
    }


def _cut(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    picture = images[Symbol.IMAGE]
    boxes = args.get("boxes") or [_around(points) for points in args.get("points") or ()]
    return {
        "masks_rle": [ellipse(box, picture.size).model_dump() for box in boxes],
        "iou": [0.91] * len(boxes),
        "boxes": [list(box) for box in boxes],
        "size": _size(picture),
    }


def _around(points: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    x, y = points[0]
    return max(0.0, x - 0.1), max(0.0, y - 0.1), min(1.0, x + 0.1), min(1.0, y + 0.1)


def _edited(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    if "explode" in args["prompt"]:
        raise SkillFailed("A matrix was not of the right shape.")
    picture = images[Symbol.IMAGE]
    snow = ImageOps.colorize(ImageOps.grayscale(picture), "#22406a", "#ffffff", mid="#b9cfe4")
    made = ImageEnhance.Brightness(Image.blend(picture, snow, 0.85)).enhance(1.1)
    return _painted(made)


def _inpainted(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    picture = images[Symbol.IMAGE]
    stencil = images[Symbol.MASK].convert("L").resize(picture.size)
    return _painted(Image.composite(Image.new("RGB", picture.size, "#d33"), picture, stencil))


def _painted(picture: Image.Image) -> dict[str, Any]:
    return {"edited_image": picture, "seed": 7, "steps": 8, "size": _size(picture)}


def _mapped(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    picture = images[Symbol.IMAGE]
    drawn = Image.new("RGB", picture.size, GRASS)
    drawn.paste(SKY, (0, 0, picture.width, picture.height * 45 // 100))
    labels = [
        {"name": "grass", "id": 9, "area": 0.55, "colour": list(GRASS)},
        {"name": "sky", "id": 2, "area": 0.45, "colour": list(SKY)},
    ]
    return {"image_seg": drawn, "labels": labels, "size": _size(picture)}


def _like_example(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    picture = images[Symbol.IMAGE]
    code = ellipse(PIG, picture.size).model_dump()
    return {"masks_rle": [code], "score": 0.9, "area": 0.03, "size": _size(picture)}


def _retrieved(args: Mapping[str, Any], images: Mapping[Symbol, Image.Image]) -> dict[str, Any]:
    hits = [{"caption": "A pig in a meadow", "similarity": 0.83, "id": 1}]
    return {"retrieval_results": hits, "size": _size(images[Symbol.IMAGE])}


_RESULTS: Mapping[str, Callable[[Mapping[str, Any], Mapping[Symbol, Image.Image]], dict[str, Any]]] = {
    "clip_retrieval": _retrieved,
    "easyocr": _read,
    "grounding_dino": _found,
    "inpainting": _inpainted,
    "instruct_pix2pix": _edited,
    "openseed": _mapped,
    "sam": _cut,
    "seem": _like_example,
}


def _plan(thoughts: str, *calls: tuple[str, dict[str, Any]]) -> PlannerOutput:
    return PlannerOutput(thoughts=thoughts, actions=tuple(Action(API_name=n, API_params=p) for n, p in calls))


PLANS: Sequence[tuple[str, PlannerOutput]] = (
    ("say", _plan("The text must be read.", ("easyocr", {}))),
    ("find the pig", _plan("The animals must be found.", ("grounding_dino", {"caption": "pig . koala"}))),
    ("in the box", _plan("The box says what to cut out.", ("sam", {"boxes": "$user.boxes"}))),
    ("at the point", _plan("The points say what is meant.", ("sam", {"points": "$user.points"}))),
    (
        "find and cut",
        _plan(
            "First find it, then cut it out.",
            ("grounding_dino", {"caption": "pig . koala"}),
            ("sam", {"boxes": "$1.boxes"}),
        ),
    ),
    ("winter", _plan("The picture must be changed.", ("instruct_pix2pix", {"prompt": "make it winter"}))),
    ("explode", _plan("I shall try.", ("instruct_pix2pix", {"prompt": "explode"}))),
    ("repaint", _plan("The mask says where.", ("inpainting", {"prompt": "a red ball"}))),
    ("every part", _plan("A map shows every part.", ("openseed", {}))),
    ("like the example", _plan("The example shows what is meant.", ("seem", {}))),
)
ANSWERS: Mapping[str, str] = {
    "easyocr": "It announces the Summer Book Fair: Saturday 12 June, 10 am to 4 pm, Town Library, Mill Road. "
    "Bring a book, take a book. Entry is free.",
    "grounding_dino": "The pig stands in the middle of the meadow, and a koala holds on to a trunk at the left.",
    "sam": "I have cut out what you marked.",
    "instruct_pix2pix": "Here is the picture in winter.",
    "inpainting": "I have painted a red ball there.",
    "openseed": "Grass covers 55% of the picture, the sky 45%.",
    "seem": "I found one thing like your example.",
}


@dataclass
class Planner:
    """Calls what `PLANS` says for the question's words, and tells what came of it.

    "hang" is answered with two words and then nothing until it is cancelled, which sets `cancelled`. Questions are in
    `asked`. While `waiting` is set no answer begins, as when a planner is busy.
    """

    model: str = "scripted"
    asked: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    fails: bool = False
    before: Callable[[], Awaitable[None]] | None = None

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        last = request.conversation[-1]
        if self.fails:
            raise PlannerUnavailable("The planner is starting.", retry_after_s=3)
        if self.before is not None:
            await self.before()
        if isinstance(last, ObservationTurn):
            seen = last.observations[-1]
            said = "That did not work." if seen.failed else ANSWERS[seen.skill]
        else:
            assert isinstance(last, UserTurn)
            self.asked.append(last.text)
            wanted = next((plan for words, plan in PLANS if words in last.text.lower()), None)
            if wanted is not None and request.may_act:
                yield PlannerDone(wanted, 90, 20)
                return
            said = _small_talk(last.text, request)
        try:
            for piece in _pieces(said):
                yield PlannerDelta(piece)
                await asyncio.sleep(0)
            if isinstance(last, UserTurn) and "hang" in last.text:
                await asyncio.Event().wait()
        except (asyncio.CancelledError, GeneratorExit):
            # Also between two pieces: the page may stop it as soon as it shows the first.
            self.cancelled.set()
            raise
        yield PlannerDone(PlannerOutput(thoughts="I can answer now.", value=said), 120, 30)

    async def ready(self) -> bool:
        return True


def _small_talk(text: str, request: PlanRequest) -> str:
    pictures = {handle for turn in request.conversation if isinstance(turn, UserTurn) for handle in turn.images}
    return f"You asked: {text.splitlines()[0]} I see {len(pictures)} picture(s)."


def _pieces(said: str) -> list[str]:
    words = said.split(" ")
    return [word if index == 0 else f" {word}" for index, word in enumerate(words)]
