"""Questions about pictures with short answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from services.embedded.world.concepts import CONCEPT
from services.embedded.world.language import NUMBERS, article, counted, listed, sign_text, things
from services.embedded.world.render import Rendered, SeenObject
from services.embedded.world.scene import sample_concept

NO: Final = "no"
YES: Final = "yes"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its answer in lowercase words, and its kind: a key of `KINDS`."""

    question: str
    answer: str
    kind: str


def questions(drawn: Rendered, rng: np.random.Generator) -> list[Question]:
    """One question of each kind that the picture has a clear answer to, in random words."""
    return [found for ask in KINDS.values() if (found := ask(drawn, rng)) is not None]


def _one(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


def _lone(drawn: Rendered) -> list[SeenObject]:
    """Objects whose concept occurs once, so that 'the dog' is clear."""
    counts = Counter(item.concept for item in drawn.objects)
    return [item for item in drawn.objects if counts[item.concept] == 1]


def _some(rng: np.random.Generator, items: list[SeenObject]) -> SeenObject:
    return items[int(rng.integers(len(items)))]


def _count(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    counts = Counter(item.concept for item in drawn.objects)
    names = sorted(counts, key=lambda name: -counts[name])
    if not names or rng.random() < 0.15:
        name = sample_concept(rng, drawn.scene.background)
    else:
        name = names[0] if rng.random() < 0.6 else _one(rng, *names)
    many = CONCEPT[name].plural
    asked = _one(rng, f"how many {many} are there?", f"how many {many} are in the picture?", f"count the {many}.")
    return Question(asked, NUMBERS[counts[name]] if counts[name] else "none", "count")


def _total(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    asked = _one(rng, "how many objects are there?", "how many things are in the picture?")
    count = len(drawn.objects)
    return Question(asked, NUMBERS[count] if count else "none", "total")


def _colour(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    choices = [item for item in _lone(drawn) if item.colour]
    if not choices:
        return None
    item = _some(rng, choices)
    word = _one(rng, "color", "colour")
    asked = _one(
        rng,
        f"what {word} is the {item.concept}?",
        f"which {word} does the {item.concept} have?",
        f"what is the {word} of the {item.concept}?",
    )
    return Question(asked, str(item.colour), "colour")


def _presence(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    present = {item.concept for item in drawn.objects}
    if present and rng.random() < 0.5:
        name = _one(rng, *sorted(present))
    else:
        name = sample_concept(rng, drawn.scene.background)
    asked = article(CONCEPT[name].singular)
    form = _one(rng, f"is there {asked}?", f"is there {asked} in the picture?", f"do you see {asked}?")
    return Question(form, YES if name in present else NO, "presence")


def _coloured_presence(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    choices = [item for item in drawn.objects if item.colour]
    if not choices:
        return None
    item = _some(rng, choices)
    colour = str(item.colour) if rng.random() < 0.5 else _one(rng, "red", "yellow", "green", "blue", "purple")
    there = any(other.concept == item.concept and other.colour == colour for other in drawn.objects)
    return Question(f"is there {counted(item.concept, 1, colour)}?", YES if there else NO, "coloured presence")


def _where(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    choices = [(item, place) for item in _lone(drawn) if (place := position(item)) is not None]
    if not choices:
        return None
    item, place = choices[int(rng.integers(len(choices)))]
    asked = _one(rng, f"where is the {item.concept}?", f"where in the picture is the {item.concept}?")
    return Question(asked, place, "where")


def position(item: SeenObject) -> str | None:
    """Where an object lies in the picture, or None where two answers are about as good."""
    right, down = (item.box[0] + item.box[2]) / 2 - 0.5, (item.box[1] + item.box[3]) / 2 - 0.5
    if max(abs(right), abs(down)) < 0.09:
        return "in the middle"
    if abs(abs(right) - abs(down)) < 0.07 or max(abs(right), abs(down)) < 0.14:
        return None
    if abs(right) > abs(down):
        return "on the right" if right > 0 else "on the left"
    return "at the bottom" if down > 0 else "at the top"


def _side(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    choices = _lone(drawn)
    if len(choices) < 2:
        return None
    first, second = (choices[int(index)] for index in rng.choice(len(choices), 2, replace=False))
    step = (first.box[0] + first.box[2] - second.box[0] - second.box[2]) / 2
    if abs(step) < 0.12:
        return None
    side = _one(rng, "left", "right")
    right = (step > 0) == (side == "right")
    asked = f"is the {first.concept} to the {side} of the {second.concept}?"
    return Question(asked, YES if right else NO, "side")


def _scene(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    asked = _one(rng, "what is the scene?", "which scene is this?", "what is the background?", "where is this?")
    return Question(asked, drawn.scene.background, "scene")


def _text(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    signs = [item for item in drawn.objects if item.text]
    if not signs:
        return None
    asked = _one(rng, "what does the sign say?", "what is written on the sign?", "what is written?", "read the sign.")
    return Question(asked, sign_text(str(signs[0].text)), "text")


def _category(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    kinds: dict[str, set[str]] = {}
    for item in drawn.objects:
        kinds.setdefault(CONCEPT[item.concept].category, set()).add(item.concept)
    asked_for = ("animal", "food", "vehicle", "plant", "building", "instrument")
    choices = [kind for kind in asked_for if len(kinds.get(kind, ())) == 1]
    if not choices:
        return None
    kind = _one(rng, *choices)
    asked = _one(rng, f"what {kind} is this?", f"which {kind} is in the picture?", f"what {kind} do you see?")
    return Question(asked, next(iter(kinds[kind])), "category")


def _contents(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    asked = _one(rng, "what is in the picture?", "what do you see?", "what objects are there?")
    return Question(asked, listed(things(drawn)) or "nothing", "contents")


def _larger(drawn: Rendered, rng: np.random.Generator) -> Question | None:
    choices = _lone(drawn)
    if len(choices) < 2:
        return None
    first, second = (choices[int(index)] for index in rng.choice(len(choices), 2, replace=False))
    if max(first.area, second.area) < 1.8 * min(first.area, second.area):
        return None
    larger = first if first.area > second.area else second
    return Question(f"which is larger, the {first.concept} or the {second.concept}?", larger.concept, "larger")


KINDS: Final = MappingProxyType[str, Callable[[Rendered, np.random.Generator], Question | None]](
    {
        "count": _count,
        "total": _total,
        "colour": _colour,
        "presence": _presence,
        "coloured presence": _coloured_presence,
        "where": _where,
        "side": _side,
        "scene": _scene,
        "text": _text,
        "category": _category,
        "contents": _contents,
        "larger": _larger,
    }
)
"""How each kind of question is made; None where a picture has no clear answer to it."""
