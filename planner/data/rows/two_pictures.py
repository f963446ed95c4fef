"""Two pictures in one message: the planner names the one that is meant."""

from __future__ import annotations

from dataclasses import dataclass

from planner.conversation import UserTurn
from planner.data.answers import sentence
from planner.data.desk import Contents, Desk, Request
from planner.data.rows.base import call
from planner.data.rows.plans import PLANS

NAMES = "Pictures: image 1, image 2."
"""The gateway's line about a message's pictures (`gateway.orchestrator.question`)."""
_WHAT = ("caption", "tags", "read", "find", "cut", "map", "edit")
_KINDS = tuple(f"{what} {number}" for what in _WHAT for number in (1, 2))
_BOTH_SHARE = 0.15


@dataclass(frozen=True)
class TwoPictures:
    """One request about one of two pictures, or about both."""

    name: str = "two_pictures"
    title: str = "Two pictures"
    skills: tuple[str, ...] = (
        "blip2",
        "ram",
        "easyocr",
        "grounding_dino",
        "grounding_dino+sam",
        "openseed",
        "instruct_pix2pix",
    )
    whole: bool = False

    def build(self, desk: Desk) -> None:
        desk.pictures = (desk.picture, desk.others())
        if desk.rng.random() < _BOTH_SHARE:
            request = _both(desk)
        else:
            kind = desk.rng.choice(_KINDS)
            desk.picture = desk.pictures[0 if kind.endswith("1") else 1]
            request = _request(desk, kind)
        try:
            desk.perform(request, show=False)
        finally:
            _show(desk)


def _show(desk: Desk) -> None:
    """Both pictures come with the message, under the gateway's names."""
    asked = desk.turns[0]
    assert isinstance(asked, UserTurn)
    images = tuple(picture.name for picture in desk.pictures)
    desk.turns[0] = asked.model_copy(update={"text": f"{asked.text}\n{NAMES}", "images": images})


def _both(desk: Desk) -> Request:
    """Each picture described, in one plan."""
    text = desk.slots().spoken(desk.book.of_kind("two_pictures", "both").text)
    actions = tuple(call("blip2", image=f"image {number}") for number in (1, 2))

    def answer(got: Contents) -> str:
        return f"The first: {sentence(str(got[0]['caption']))} The second: {sentence(str(got[1]['caption']))}"

    return Request(text, actions, "Describe it.", answer, pictures=desk.pictures)


def _request(desk: Desk, kind: str) -> Request:
    what, _, number = kind.partition(" ")
    wording, slots = desk.book.of_kind("two_pictures", kind), desk.slots()
    text = slots.spoken(wording.text)
    nouns = [noun for noun in slots.nouns if noun.name in slots.asked]
    action, thoughts, answer = PLANS[what](slots, nouns)
    # The newest picture is meant where none is named, and that is the second.
    named = {"image": f"image {number}"} if number == "1" or desk.rng.random() < 0.5 else {}
    action = action.model_copy(update={"API_params": dict(action.API_params) | named})
    return Request(text, (action,), thoughts, answer)


ROW = TwoPictures()
