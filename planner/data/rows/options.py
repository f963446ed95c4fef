"""Optional arguments that people state with a wish: a seed, steps, a size, what to leave out, how many results.

They stand in slots of a wording (`{seed}`), or of a line of `wordings/options.tsv` that is put round a wish.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from planner.data.desk import Desk, Request
from planner.data.phrasebook import Slots
from planner.data.rows.base import Maker

_PAINTING: Final = "painting"
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "stable_diffusion": (_PAINTING, _PAINTING, "stable_diffusion"),
    "instruct_pix2pix": (_PAINTING, _PAINTING, _PAINTING, "instruct_pix2pix"),
    "inpainting": (_PAINTING,),
    "controlnet": (_PAINTING, _PAINTING, _PAINTING, "controlnet"),
    "clip_retrieval": ("clip_retrieval",),
}
"""Kinds of lines in `options.tsv` that go with each skill; one that stands here more often is drawn more often."""
_ARGUMENTS: Final[Mapping[str, str]] = {
    "seed": "seed",
    "steps": "steps",
    "guidance": "guidance",
    "keep": "image_guidance",
    "control": "control",
    "count": "top_k",
}
"""The argument that the number in a slot is."""
_ALL: Final = frozenset({*_ARGUMENTS.values(), "size", "negative_prompt"})


def stating(maker: Maker, share: float) -> Maker:
    """The maker, with optional arguments of the last call stated in a `share` of the requests that state none."""

    def make(desk: Desk) -> Request:
        request = maker(desk)
        wanted = desk.rng.random() < share and not request.actions[-1].API_params.keys() & _ALL
        return _stated(desk, request) if wanted else request

    return make


def stated(slots: Slots) -> dict[str, Any]:
    """The optional arguments that stand in filled slots; what a wording leaves open is left to the skill."""
    values = slots.values
    found: dict[str, Any] = {name: json.loads(values[slot]) for slot, name in _ARGUMENTS.items() if slot in values}
    if "side" in values:
        found["size"] = [int(values["side"]), int(values.get("side2", values["side"]))]
    if "negative" in values:
        found["negative_prompt"] = values["negative"]
    return found


def _stated(desk: Desk, request: Request) -> Request:
    *before, last = request.actions
    wording = desk.book.of_kind("options", desk.rng.choice(_KINDS[last.API_name]))
    slots = desk.slots([])
    slots.values["wish"] = request.text.rstrip(". ")
    text = _tidy(slots.fill(wording.text))
    params = {**last.API_params, **stated(slots)}
    return replace(request, text=text, actions=(*before, last.model_copy(update={"API_params": params})))


def _tidy(text: str) -> str:
    """A wish that ends with a mark of its own needs no other after it."""
    for mark in "?!":
        for other in ".,;":
            text = text.replace(mark + other, mark)
    return text
