"""A platform whose planner and skills know the truth about the embedded world: the real gateway and orchestrator.

What is asked of it must be right in every row; what is spoilt in it must be told from the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gateway.app import create_app
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.ports import SkillOutcome
from gateway.settings import GatewaySettings
from planner.api import PlannerDelta, PlannerDone, PlannerEvent, PlanRequest
from planner.conversation import ObservationTurn, UserTurn
from planner.eval.cases import Constraint, ExpectedCall
from planner.eval.command import offered
from planner.eval.gateway import GatewayClient
from planner.eval.world.run import png
from planner.eval.world.turns import Dialogue, Scenes, Turn
from planner.format import Action, PlannerOutput
from services.core.context import CallContext
from services.core.errors import UnknownSkill
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE
from services.embedded.world.concepts import CONCEPT
from services.embedded.world.labels import tags
from services.embedded.world.language import named_concepts, named_scene, plain_caption
from services.embedded.world.questions import position
from services.embedded.world.render import Rendered
from tests.gateway_fakes import FakeImages, fake_parts

Spoilt = Callable[[str, dict[str, Any]], dict[str, Any]]


@dataclass
class Painted:
    """A picture that a painter made, and what can be found in it."""

    names: set[str]
    scene: str | None
    box: list[float]


@dataclass
class TrueSkills:
    """Implements `gateway.ports.SkillClient`: what the real skills would say if they made no mistake.

    Attributes:
        spoil: is given every result, and gives what is answered instead.
    """

    scenes: Scenes
    images: FakeImages
    spoil: Spoilt = lambda skill, result: result
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._specs = {spec.name: spec for spec in offered(())}
        self._drawn: dict[bytes, Rendered] = {}
        self._painted: dict[bytes, Painted] = {}

    def know(self, numbers: Sequence[int]) -> None:
        """Scenes whose pictures may come."""
        self._drawn |= {np.asarray(self.scenes[number].image).tobytes(): self.scenes[number] for number in numbers}

    def specs(self) -> Sequence[SkillSpec]:
        return list(self._specs.values())

    def resolve(self, name: str) -> SkillSpec:
        for spec in self._specs.values():
            if name in spec.names:
                return spec
        raise UnknownSkill(f"No tool is called {name!r}.")

    async def warm(self, skill: str) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return dict.fromkeys(self._specs, True)

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        """See `gateway.ports.SkillClient.call`."""
        await asyncio.sleep(0)
        self.calls.append(skill)
        spec = self._specs[skill]
        known = spec.args_model.model_validate(dict(args)).model_dump(mode="json")
        given = {symbol: await self._pixels(handle) for symbol, handle in images.items()}
        shown = given.get(Symbol.IMAGE)
        side = shown.shape[0] if shown is not None else 256
        size = {"width": side, "height": side}
        painted = await self._paint(skill, known, given)
        if painted is not None:
            result: dict[str, Any] = {"edited_image": painted, "seed": 0, "steps": 1}
        else:
            assert shown is not None
            result = self._said(skill, known, shown, given)
        result = self.spoil(skill, result | {"size": size})
        if "image_seg" in result:
            result["image_seg"] = (await self.images.put(png(np.zeros((8, 8, 3), np.uint8)), owner="o")).id
        pictures = {name: result[name] for name, symbol in spec.produces.items() if symbol is not Symbol.MASK}
        return SkillOutcome(
            skill, spec.result_model.model_validate(result).model_dump(mode="json"), "w", 1.0, 1.0, pictures=pictures
        )

    async def _pixels(self, handle: str) -> NDArray[np.uint8]:
        stored = await self.images.get(handle, owner="o")
        return np.asarray(Image.open(BytesIO(stored.data)).convert("RGB"))

    async def _paint(
        self, skill: str, args: Mapping[str, Any], given: Mapping[Symbol, NDArray[np.uint8]]
    ) -> str | None:
        if skill not in ("stable_diffusion", "instruct_pix2pix", "inpainting", "controlnet"):
            return None
        prompt = str(args["prompt"])
        noise = np.random.default_rng(len(self._painted)).integers(0, 255, (256, 256, 3)).astype(np.uint8)
        box = [0.1, 0.1, 0.9, 0.9]
        if skill == "inpainting":
            inside = given[Symbol.MASK][..., 0] > 127
            noise = np.where(inside[..., None], noise, given[Symbol.IMAGE])
            ys, xs = np.nonzero(inside)
            box = [xs.min() / 256, ys.min() / 256, (xs.max() + 1) / 256, (ys.max() + 1) / 256]
        self._painted[noise.tobytes()] = Painted(
            named_concepts(prompt), named_scene(prompt.replace("winter", "snow")), box
        )
        return (await self.images.put(png(noise), owner="o")).id

    def _said(
        self, skill: str, args: Mapping[str, Any], shown: NDArray[np.uint8], given: Mapping[Symbol, NDArray[np.uint8]]
    ) -> dict[str, Any]:
        painted = self._painted.get(shown.tobytes())
        if painted is not None:
            if skill == "ram":
                return {"tags": [painted.scene] if painted.scene else [], "scores": [0.9] if painted.scene else []}
            return _boxes([(painted.box, name) for name in painted.names & named_concepts(args["caption"])])
        drawn = self._drawn[shown.tobytes()]
        objects = list(enumerate(drawn.objects))
        if skill in ("grounding_dino", "grounding_dino+sam"):
            objects = [(index, item) for index, item in objects if item.concept in named_concepts(args["caption"])]
        found = _boxes([(list(item.box), item.concept) for _, item in objects])
        codes = [_code(drawn.mask(index)) for index, _ in objects]
        there = tags(drawn)
        truths: dict[str, Callable[[], dict[str, Any]]] = {
            "grounding_dino": lambda: found,
            "grounding_dino+sam": lambda: found | {"masks_rle": codes},
            "blip2+grounding_dino": lambda: found | {"caption": plain_caption(drawn)},
            "ram+grounding_dino": lambda: found | {"tags": there},
            "ram": lambda: {"tags": there, "scores": [0.9] * len(there)},
            "blip2": lambda: {"caption": _answer(drawn, args.get("prompt")) or plain_caption(drawn)},
            "sam": lambda: _cut(drawn, args),
            "semantic_sam": lambda: _levels(drawn, args),
            "seem": lambda: self._alike(drawn, given),
            "openseed": lambda: _map(drawn),
            "easyocr": lambda: _read(drawn),
            "clip_retrieval": lambda: _facts(drawn),
        }
        return truths[skill]()

    def _alike(self, drawn: Rendered, given: Mapping[Symbol, NDArray[np.uint8]]) -> dict[str, Any]:
        example = self._drawn[given[Symbol.REFERENCE_IMAGE].tobytes()]
        marked = example.instances[given[Symbol.REFERENCE_MASK][..., 0] > 127]
        concept = example.objects[int(np.bincount(marked).argmax()) - 1].concept
        masks = [drawn.mask(index) for index, item in enumerate(drawn.objects) if item.concept == concept]
        return {"masks_rle": [_code(np.logical_or.reduce(masks))], "score": 0.9, "area": 0.1}


def _code(mask: NDArray[np.bool_]) -> dict[str, Any]:
    return MaskRLE.from_array(mask).model_dump(mode="json")


def _boxes(found: Sequence[tuple[Sequence[float], str]]) -> dict[str, Any]:
    return {
        "boxes": [list(box) for box, _ in found],
        "phrases": [phrase for _, phrase in found],
        "logits": [0.9] * len(found),
    }


def _at(drawn: Rendered, x: float, y: float) -> int:
    height, width = drawn.instances.shape
    return max(int(drawn.instances[int(y * height), int(x * width)]) - 1, 0)


def _cut(drawn: Rendered, args: Mapping[str, Any]) -> dict[str, Any]:
    if args.get("points"):
        chosen = [_at(drawn, *group[0]) for group in args["points"]]
    else:
        boxes = [list(item.box) for item in drawn.objects]
        chosen = [
            min(range(len(boxes)), key=lambda one: np.abs(np.subtract(boxes[one], box)).sum()) for box in args["boxes"]
        ]
    masks = [_code(drawn.mask(index)) for index in chosen]
    return {
        "masks_rle": masks,
        "iou": [0.9] * len(masks),
        "boxes": [list(drawn.objects[index].box) for index in chosen],
    }


def _levels(drawn: Rendered, args: Mapping[str, Any]) -> dict[str, Any]:
    index = _at(drawn, *np.reshape(args["point"], -1)[:2])
    part = cv2.erode(drawn.mask(index).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    masks = [_code(part), _code(drawn.mask(index)), _code(drawn.group_mask(index))]
    level = {"masks_rle": masks, "iou": [0.9] * 3, "areas": [0.1] * 3, "boxes": [[0, 0, 1, 1]] * 3}
    return {"levels": [level | {"best": 1, "by_iou": [1, 0, 2]}], "masks_rle": [masks[1]]}


def _map(drawn: Rendered) -> dict[str, Any]:
    areas = {drawn.scene.background: float((drawn.instances == 0).mean())}
    for index, item in enumerate(drawn.objects):
        areas[item.concept] = areas.get(item.concept, 0.0) + float(drawn.mask(index).mean())
    labels = [{"name": name, "id": 1, "area": area, "colour": [1, 2, 3]} for name, area in areas.items()]
    return {"image_seg": "", "labels": labels}


def _read(drawn: Rendered) -> dict[str, Any]:
    lines = [line for item in drawn.objects if item.text for line in item.text.split("\n")]
    boxes = [[0.1, 0.1 * index, 0.9, 0.1 * index + 0.08] for index in range(len(lines))]
    return {"boxes": boxes, "texts": lines, "scores": [0.9] * len(lines)}


def _facts(drawn: Rendered) -> dict[str, Any]:
    facts = [fact for name in sorted({item.concept for item in drawn.objects}) for fact in CONCEPT[name].facts]
    return {"retrieval_results": [{"caption": fact, "similarity": 0.5, "id": 1} for fact in facts]}


def _answer(drawn: Rendered, question: str | None) -> str:
    """What a captioner that sees says to a question; "" for a description."""
    words = (question or "").casefold()
    named = [item for item in drawn.objects if item.concept in named_concepts(words)]
    if words.startswith("what colour"):
        return str(named[0].colour)
    if words.startswith(("is there", "do you see")):
        return "yes" if named else "no"
    if words.startswith("what kind of place"):
        return drawn.scene.background
    return str(position(named[0])) if words.startswith("on which side") else ""


@dataclass
class TruePlanner:
    """Implements `planner.api.Planner`: calls what the questions need, and says what the skills said.

    Attributes:
        spoil: is given every output with the question, and gives what is planned instead.
    """

    turns: Mapping[str, Turn]
    spoil: Callable[[str, PlannerOutput], PlannerOutput] = lambda question, output: output
    model: str = "true"

    async def ready(self) -> bool:
        return True

    async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        """See `planner.api.Planner.plan`."""
        question, told = "", list[Mapping[str, Any]]()
        for said in request.conversation:
            if isinstance(said, UserTurn):
                question, told = said.text.split("\n")[0], []
            elif isinstance(said, ObservationTurn):
                told += [one.content for one in said.observations if "No tool is called" not in str(one.content)]
        turn = self.turns[question]
        way = turn.accept[0]
        if len(told) < len(way):
            output = PlannerOutput(actions=tuple(_action(call, question) for call in way[len(told)]))
        else:
            output = PlannerOutput(value=_words(turn, told[-1], question))
        output = self.spoil(question, output)
        if output.is_answer:
            yield PlannerDelta(output.value)
        yield PlannerDone(output, 10, 5)


def _action(call: ExpectedCall, question: str) -> Action:
    args = {name: _value(one) for name, one in call.args.items() if not one.optional}
    return Action(
        API_name=call.skill, API_params=args | ({"prompt": question} if call.skill == "blip2" and args else {})
    )


def _value(constraint: Constraint) -> str:
    return " ".join(words.split("|")[0] for words in constraint.has)


def _words(turn: Turn, told: Mapping[str, Any], question: str) -> str:
    counted = question.startswith(("How many", "Count all", "number of"))
    if counted:
        return f"I find {len(told.get('boxes', ()))} of them."
    for name in ("caption", "tags", "text"):
        if name in told:
            return str(told[name])
    if "retrieval_results" in told:
        return str(told["retrieval_results"][0])
    return turn.ideal or "Here it is."


def true_platform(made: Sequence[Dialogue], scenes: Scenes) -> tuple[GatewayClient, TrueSkills, TruePlanner]:
    """The gateway in this process, for `made`."""
    images, settings = FakeImages(), GatewaySettings()
    skills = TrueSkills(scenes, images)
    numbers = [dialogue.scene for dialogue in made if dialogue.scene is not None]
    numbers += [turn.given.example[0] for dialogue in made for turn in dialogue.turns if turn.given.example]
    skills.know(numbers)
    planner = TruePlanner({turn.text: turn for dialogue in made for turn in dialogue.turns})
    turns = Orchestrator(planner, skills, images, settings)
    app = create_app(fake_parts(turns, skills=skills, images=images, planner=planner, settings=settings))
    return GatewayClient("http://gateway", transport=httpx.ASGITransport(app=app)), skills, planner
