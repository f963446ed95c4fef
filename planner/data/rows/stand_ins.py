"""Which tools can take the place of one that is missing, and how a request is then met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from planner.data.desk import Contents, Request
from planner.data.results import NoResult
from planner.data.rows import captions, detection, instance_segmentation, interactive, painting, tagging
from planner.data.rows.base import Maker, call
from planner.data.rows.kinds import NAMED
from planner.format import Action

_NO_BOXES = "Boxes are not available now."


def helpers(action: Action) -> tuple[str, ...]:
    """The tools that together can take the place of a call."""
    if action.API_name == "blip2" and "prompt" in action.API_params:
        return ()
    if action.API_name == "sam" and str(action.API_params.get("boxes", "")).startswith(f"${detection.SKILL}"):
        return (instance_segmentation.SKILL,)
    return _HELPERS.get(action.API_name, ())


_HELPERS: Final[Mapping[str, tuple[str, ...]]] = {
    "blip2": ("blip2+grounding_dino",),
    "blip2+grounding_dino": ("blip2",),
    "grounding_dino": ("grounding_dino+sam",),
    "grounding_dino+sam": ("grounding_dino", "sam"),
    "ram": ("ram+grounding_dino",),
    "ram+grounding_dino": ("ram",),
    "semantic_sam": ("sam",),
}


def _boxes_then_masks(request: Request) -> Request:
    """The detector and masks of its boxes; what comes after the masks stays."""
    found = call(detection.SKILL, **request.actions[0].API_params)
    masks = call("sam", boxes=f"${detection.SKILL}.boxes")
    return replace(
        request,
        actions=(found, masks, *request.actions[1:]),
        answer=lambda got: request.answer([got[0], *got[2:]]),
    )


def _masks_with_boxes(request: Request) -> Request:
    found = call(instance_segmentation.SKILL, **request.actions[0].API_params)
    return replace(request, actions=(found,), thoughts="Cut it out.")


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


INSTEAD: Final[Mapping[str, Callable[[Request], Request]]] = {
    "grounding_dino": _masks_with_boxes,
    "grounding_dino+sam": _boxes_then_masks,
    "blip2+grounding_dino": _caption_alone,
    "blip2": _caption_with_boxes,
    "ram+grounding_dino": _tags_alone,
    "ram": _tags_with_boxes,
    "semantic_sam": _one_mask,
}

REPLACEABLE: Final[tuple[Maker, ...]] = (
    *NAMED,
    captions.caption,
    captions.grounded,
    tagging.tag,
    tagging.locate_all,
    interactive.segment_levels,
    painting.inpaint_named,
)
"""Requests whose first call another tool can take over."""
