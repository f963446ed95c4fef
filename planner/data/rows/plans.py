"""What a word such as "count" or "read" plans: the call, short thoughts, and how the answer follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from planner.data.answers import places, sentence, there
from planner.data.desk import Contents
from planner.data.labels import Noun
from planner.data.phrasebook import Slots
from planner.data.rows import captions, knowledge, semantic_segmentation, tagging
from planner.data.rows.base import call
from planner.data.rows.detection import found, thresholds
from planner.data.rows.reading import read
from planner.format import Action

Planned = tuple[Action, str, Callable[[Contents], str]]
Plan = Callable[[Slots, Sequence[Noun]], Planned]


def _named(skill: str, thoughts: str, answer: Callable[[Sequence[Noun], Contents], str]) -> Plan:
    def plan(slots: Slots, nouns: Sequence[Noun]) -> Planned:
        caption = " . ".join(noun.name for noun in nouns)
        return call(skill, caption=caption, **thresholds(slots)), thoughts, lambda got: answer(nouns, got)

    return plan


def _found(nouns: Sequence[Noun], got: Contents) -> str:
    return found(nouns, got, numbers=False)


def _painted(skill: str, thoughts: str, slot: str, done: str) -> Plan:
    def plan(slots: Slots, nouns: Sequence[Noun]) -> Planned:
        prompt = slots.fill(slot)
        return call(skill, prompt=prompt), thoughts, lambda got: sentence(f"{done} {prompt}")

    return plan


PLANS: Final[Mapping[str, Plan]] = MappingProxyType(
    {
        "find": _named("grounding_dino", "Find it.", _found),
        "where": _named("grounding_dino", "Find it.", lambda nouns, got: " ".join(places(n, got[0]) for n in nouns)),
        "count": _named("grounding_dino", "Count them.", lambda nouns, got: there(nouns, got[0])),
        "cut": _named("grounding_dino+sam", "Cut it out.", _found),
        "caption": lambda slots, nouns: (call("blip2"), "Describe it.", captions.answer),
        "gcaption": lambda slots, nouns: (call("blip2+grounding_dino"), "Sentence with boxes.", captions.answer),
        "tags": lambda slots, nouns: (call("ram"), "Tags.", tagging.listing),
        "gtags": lambda slots, nouns: (call("ram+grounding_dino"), "All with boxes.", tagging.located),
        "read": lambda slots, nouns: (call("easyocr"), "Read.", read),
        "map": lambda slots, nouns: (call("openseed"), "Map it.", semantic_segmentation.answer),
        "facts": lambda slots, nouns: (
            call("clip_retrieval", query=nouns[0].name) if nouns else call("clip_retrieval"),
            "Known facts.",
            knowledge.answer,
        ),
        "edit": _painted("instruct_pix2pix", "Edit it.", "{edit}", "Done:"),
        "draw": _painted("stable_diffusion", "Paint it.", "{scene}", "Here is your picture:"),
    }
)
NOUNS: Final = frozenset({"find", "where", "count", "cut", "facts"})
"""Those that are about named things."""
