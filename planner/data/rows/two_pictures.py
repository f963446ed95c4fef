"""Two pictures in one message: the planner names the one that is meant."""

from __future__ import annotations

from dataclasses import dataclass

from planner.conversation import UserTurn
from planner.data.answers import sentence
from planner.data.desk import Contents, Desk, Request
from planner.data.phrasebook import Wording, read_wordings
from planner.data.rows.plans import PLANS
from planner.format import Action

NAMES = "Pictures: image 1, image 2."
"""The gateway's line about a message's pictures (`gateway.orchestrator.question`)."""
_WHAT = ("caption", "gcaption", "tags", "gtags", "read", "find", "where", "count", "cut", "map", "edit")
_KINDS = tuple(f"{what} {number}" for what in _WHAT for number in (1, 2))
_NTH = {"1": "first", "2": "second"}
_SEVERAL_SHARE = 0.3


@dataclass(frozen=True)
class TwoPictures:
    """Wishes about one of two pictures, or about both.

    A wording's kind says what it wishes for in which picture: "read 2", "caption 1 caption 2", "read 1 edit 2".
    """

    name: str = "two_pictures"
    title: str = "Two pictures"
    skills: tuple[str, ...] = (
        "blip2",
        "blip2+grounding_dino",
        "ram",
        "ram+grounding_dino",
        "easyocr",
        "grounding_dino",
        "grounding_dino+sam",
        "openseed",
        "instruct_pix2pix",
    )
    whole: bool = False

    def build(self, desk: Desk) -> None:
        desk.pictures = (desk.picture, desk.others())
        if desk.rng.random() < _SEVERAL_SHARE:
            request = _several(desk)
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


def _several(desk: Desk) -> Request:
    """Something for each picture, in one plan."""
    wording, slots = desk.book.deal("two_pictures several", _of_several), desk.slots()
    text = slots.spoken(wording.text)
    nouns = [noun for noun in slots.nouns if noun.name in slots.asked]
    words = wording.kind.split()
    numbers = words[1::2]
    plans = [PLANS[what](slots, nouns) for what in words[::2]]
    actions = tuple(_in(action, number) for (action, _, _), number in zip(plans, numbers, strict=True))

    def answer(got: Contents) -> str:
        told = zip(plans, numbers, got, strict=True)
        return " ".join(f"The {_NTH[number]}: {sentence(plan[2]([content]))}" for plan, number, content in told)

    return Request(text, actions, plans[0][1], answer, pictures=[desk.pictures[int(number) - 1] for number in numbers])


def _of_several() -> list[Wording]:
    return [wording for wording in read_wordings("two_pictures", kinds=True) if len(wording.kind.split()) > 2]


def _in(action: Action, number: str) -> Action:
    return action.model_copy(update={"API_params": {**action.API_params, "image": f"image {number}"}})


def _request(desk: Desk, kind: str) -> Request:
    what, _, number = kind.partition(" ")
    wording, slots = desk.book.of_kind("two_pictures", kind), desk.slots()
    text = slots.spoken(wording.text)
    nouns = [noun for noun in slots.nouns if noun.name in slots.asked]
    action, thoughts, answer = PLANS[what](slots, nouns)
    # The newest picture is meant where none is named, and that is the second.
    named = number == "1" or desk.rng.random() < 0.5
    return Request(text, (_in(action, number) if named else action,), thoughts, answer)


ROW = TwoPictures()
