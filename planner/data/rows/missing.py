"""Tools that are not offered now: the prompt names them. The planner says so, or takes the next best tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from planner.data.desk import Contents, Desk, Request
from planner.data.results import NoResult
from planner.data.rows import captions, detection, tagging
from planner.data.rows.base import Maker, call
from planner.data.rows.interactive import segment_by_example
from planner.data.rows.kinds import EVERY
from planner.data.rows.painting import edit_post, generate_post, inpaint_named

NOT_OFFERED = "Not available."
WHAT: Final[Mapping[str, str]] = {
    "blip2": "describing pictures",
    "blip2+grounding_dino": "describing with boxes",
    "clip_retrieval": "looking things up",
    "controlnet": "painting along a layout",
    "easyocr": "reading text",
    "grounding_dino": "finding things",
    "grounding_dino+sam": "cutting out named things",
    "inpainting": "repainting a part",
    "instruct_pix2pix": "changing pictures",
    "openseed": "maps of the whole picture",
    "ram": "tagging",
    "ram+grounding_dino": "boxes around everything",
    "sam": "cutting out what is marked",
    "seem": "finding by example",
    "semantic_sam": "masks of several levels",
    "stable_diffusion": "painting pictures",
}
"""The skills that may be missing, and what they are for, in an answer's words."""

_ANSWERS = (
    "Sorry, I cannot do that now: the tool for {} is not available.",
    "That needs the tool for {}, which is not available at the moment.",
    "I am sorry, but the tool for {} is not available now.",
    "The tool for {} is not available at the moment, so I cannot do this.",
)
_NO_BOXES = "Boxes are not available now."
MAKERS: Final[tuple[Maker, ...]] = (*EVERY, segment_by_example, edit_post, generate_post, inpaint_named)
"""Requests of which some calls each of these skills."""
_OTHERS = (0, 0, 1, 1, 2, 3, 5, 8, 10, 12)
"""How many other tools are missing too."""
_UNCONCERNED_SHARE = 0.4
"""How often what is missing does not matter for the wish."""
_NEXT_BEST_SHARE = 0.8
_NONE_SHARE = 0.08


@dataclass(frozen=True)
class MissingTool:
    """A wish while some tools are not offered."""

    name: str = "missing_tool"
    title: str = "Tools that are not available"
    skills: tuple[str, ...] = tuple(WHAT)
    whole: bool = True

    def build(self, desk: Desk) -> None:
        request = desk.rng.choice(MAKERS)(desk)
        needed = [action.API_name for action in request.actions]
        if desk.rng.random() < _UNCONCERNED_SHARE:
            desk.without = _some(desk, desk.rng.choice(_OTHERS) + 1, kept=needed)
            desk.perform(request)
            return
        lacking = desk.rng.choice(needed)
        instead = _next_best(request, lacking) if desk.rng.random() < _NEXT_BEST_SHARE else None
        if instead is not None:
            kept = [lacking, *(action.API_name for action in instead.actions)]
            desk.without = (*_some(desk, desk.rng.choice(_OTHERS), kept), lacking)
            desk.perform(instead)
            return
        count = len(WHAT) if desk.rng.random() < _NONE_SHARE else desk.rng.choice(_OTHERS)
        # What would be the next best is missing as well: else it would have been taken.
        helpers = _next_best(request, lacking)
        also = {action.API_name for action in helpers.actions[:1]} if helpers else set()
        desk.without = tuple(sorted({*_some(desk, count, [lacking]), *also, lacking}))
        desk.ask(request)
        desk.say(desk.rng.choice(_ANSWERS).format(WHAT[lacking]), NOT_OFFERED)


def _some(desk: Desk, count: int, kept: Sequence[str]) -> tuple[str, ...]:
    """`count` missing tools, or as many as there are besides `kept`."""
    others = [name for name in WHAT if name not in kept]
    return tuple(desk.rng.sample(others, min(count, len(others))))


def _next_best(request: Request, lacking: str) -> Request | None:
    """The wish with other tools, as well as these can; None where none comes near."""
    action = request.actions[0]
    if len(request.actions) > 1 or action.API_name != lacking or (lacking == "blip2" and action.API_params):
        return None
    made = _INSTEAD.get(lacking)
    return made(request) if made else None


def _boxes_then_masks(request: Request) -> Request:
    found = call(detection.SKILL, caption=request.actions[0].API_params["caption"])
    masks = call("sam", boxes=f"${detection.SKILL}.boxes")
    return replace(request, actions=(found, masks), answer=lambda got: request.answer(got[:1]))


def _caption_alone(request: Request) -> Request:
    return replace(
        request,
        actions=(call("blip2"),),
        thoughts="Describe it.",
        answer=lambda got: f"{captions.answer(got)} {_NO_BOXES}",
    )


def _caption_with_boxes(request: Request) -> Request:
    return replace(request, actions=(call("blip2+grounding_dino"),), thoughts="Sentence with boxes.")


def _tags_alone(request: Request) -> Request:
    return replace(
        request, actions=(call("ram"),), thoughts="Tags.", answer=lambda got: f"{tagging.listing(got)} {_NO_BOXES}"
    )


def _tags_with_boxes(request: Request) -> Request:
    return replace(request, actions=(call("ram+grounding_dino"),), thoughts="All with boxes.", answer=tagging.located)


def _one_mask(request: Request) -> Request:
    if not request.marks:
        raise NoResult("the place stands in the text itself")

    def answer(got: Contents) -> str:
        return "Here is one mask: several levels are not available now."

    return replace(request, actions=(call("sam"),), thoughts="Mask the marked.", answer=answer)


_INSTEAD: Final[Mapping[str, Callable[[Request], Request]]] = {
    "grounding_dino+sam": _boxes_then_masks,
    "blip2+grounding_dino": _caption_alone,
    "blip2": _caption_with_boxes,
    "ram+grounding_dino": _tags_alone,
    "ram": _tags_with_boxes,
    "semantic_sam": _one_mask,
}

ROW = MissingTool()
