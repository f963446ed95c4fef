"""Tools that are not offered now: the prompt names them. What the others can do they do, whatever else is missing; what
needs a missing one the planner declines in a sentence, without a call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from planner.conversation import AssistantTurn, Turn
from planner.data.answers import listed
from planner.data.desk import ChoiceMade, Contents, Desk
from planner.data.results import NoResult
from planner.data.rows import (
    conversation,
    interactive,
    mixed,
    painting,
)
from planner.data.rows.base import Maker, Row, SingleRequest
from planner.data.rows.calling import CALLING
from planner.data.rows.kinds import EVERY, SEVERAL, UNDERSTANDING
from planner.data.rows.stand_ins import INSTEAD, REPLACEABLE, helpers
from planner.data.wordings import lines
from planner.format import Action

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
    "Sorry, I cannot do that now: {} not available.",
    "That is not possible at the moment: {} not available.",
    "I am sorry, but {} not available now.",
    "I cannot do this: {} not available at the moment.",
)
MAKERS: Final[tuple[Maker, ...]] = (
    *EVERY, interactive.segment_by_example, painting.edit_post, painting.generate_post, painting.inpaint_named
)  # fmt: skip
"""Requests of which some calls each of these skills."""
_WEIGHTED: Final[tuple[tuple[float, Row], ...]] = (
    *((1.0, row) for row in CALLING),
    *((4.0 if row.name == "follow_ups" else 2.0, row) for row in mixed.ROWS),
)
"""Rows that call something, with their weights: the same for wishes that can be met and for those that cannot."""
_TALKING: Final = (conversation.CHAT, conversation.IMPOSSIBLE)
_OFFERED = (1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15)
"""How many tools are offered, met or not: the number alone says nothing about a wish."""
_TALKING_SHARE = 0.12
_EARLIER_SHARE = 0.35
"""How often something else was wished for, and done, before."""
_LATER_SHARE = 0.3
"""How often something that can be done follows what could not."""
_REGRET_SHARE = 0.2
"""How often a word about it follows what could not be done."""
_NONE_SHARE = 0.05


@dataclass(frozen=True)
class MissingTool:
    """Wishes while some tools are not offered."""

    name: str = "missing_tool"
    title: str = "Tools that are not available"
    skills: tuple[str, ...] = tuple(WHAT)
    whole: bool = True

    def build(self, desk: Desk) -> None:
        kinds: Sequence[tuple[float, Callable[[Desk], None]]] = (
            (0.4, _met),
            (0.42, _declined),
            (0.11, _made_up_for),
            (0.07, _met_in_part),
        )
        weights, makers = zip(*kinds, strict=True)
        desk.rng.choices(makers, weights)[0](desk)


def _met(desk: Desk) -> None:
    """What is missing does not matter for the wishes."""
    if desk.rng.random() < _TALKING_SHARE:
        desk.rng.choice(_TALKING).build(desk)
    else:
        _calling(desk)
    _offer(desk, kept=_called(desk.turns))


def _declined(desk: Desk) -> None:
    """The last wish for which a tool can be missing is declined; what was wished for before is done."""
    _calling(desk)
    for index in reversed(range(len(desk.turns))):
        turn = desk.turns[index]
        if not isinstance(turn, AssistantTurn) or not turn.output.actions:
            continue
        kept = _called(desk.turns[:index])
        lacking = _lacking(desk, turn.output.actions, kept)
        lost = _lost(desk, turn.output.actions, lacking, kept)
        if lost:
            del desk.turns[index:]
            desk.skills[:] = kept
            desk.say(desk.rng.choice(_ANSWERS).format(_tools(lacking)), NOT_OFFERED)
            if desk.rng.random() < _REGRET_SHARE:
                desk.perform(conversation.answered(desk, desk.book.deal("follow_declined")), show=False)
            _later(desk, lost)
            _offer(desk, kept=_called(desk.turns), lost=lost)
            return
    raise NoResult("every wish can be met without what could be missing")


def _made_up_for(desk: Desk) -> None:
    """The next best tool is taken."""
    request = desk.rng.choice(REPLACEABLE)(desk)
    instead = INSTEAD[request.actions[0].API_name](request)
    lacking = {action.API_name for action in request.actions} - {action.API_name for action in instead.actions}
    desk.perform(instead)
    _offer(desk, kept=_called(desk.turns), lost=lacking)


def _met_in_part(desk: Desk) -> None:
    """Of two wishes one is met, and the other declined."""
    wishes = [maker(desk) for maker in desk.rng.sample(SEVERAL, 2)]
    text = mixed.joined(desk.rng.choice(lines("seams.txt")), wishes[0].text, wishes[1].text)
    desk.rng.shuffle(wishes)
    met, other = wishes
    kept = [action.API_name for action in met.actions]
    lacking = _lacking(desk, other.actions, kept)
    lost = _lost(desk, other.actions, lacking, kept)
    if not lost:
        raise NoResult("both wishes can be met")

    def answer(got: Contents) -> str:
        lack = _tools(lacking)
        return f"{met.answer(got)} {lack[:1].upper()}{lack[1:]} not available now."

    with suppress(ChoiceMade):
        desk.perform(replace(met, text=text, answer=answer))
    _offer(desk, kept=kept, lost=lost)


def _calling(desk: Desk) -> None:
    """Wishes of some row, and now and then another one before them; what only a call can answer ends with it."""
    weights, rows = zip(*_WEIGHTED, strict=True)
    row: Row = desk.rng.choices(rows, weights)[0]
    if isinstance(row, SingleRequest) and desk.rng.random() < _EARLIER_SHARE:
        desk.perform(desk.rng.choice(UNDERSTANDING)(desk))
    with suppress(ChoiceMade):
        row.build(desk)
    desk.choice_only = False


def _later(desk: Desk, lost: Collection[str]) -> None:
    """Now and then a wish that can be met."""
    if desk.rng.random() >= _LATER_SHARE or desk.pictures:
        return
    request = desk.rng.choice(UNDERSTANDING)(desk)
    if all(action.API_name not in lost for action in request.actions):
        desk.perform(request)


def _offer(desk: Desk, kept: Collection[str], lost: Collection[str] = ()) -> None:
    """Tools by chance, those that are called among them and those that are lacking not."""
    others = [name for name in WHAT if name not in kept and name not in lost]
    none = not kept and desk.rng.random() < _NONE_SHARE
    count = 0 if none else max(desk.rng.choice(_OFFERED) - len(set(kept)), 0)
    offered = {*kept, *desk.rng.sample(others, min(count, len(others)))}
    desk.without = tuple(name for name in WHAT if name not in offered)


def _called(turns: Sequence[Turn]) -> list[str]:
    """Names of the tools that were called, in their order."""
    plans = [turn.output for turn in turns if isinstance(turn, AssistantTurn)]
    return [action.API_name for plan in plans for action in plan.actions]


def _tools(names: Sequence[str]) -> str:
    """'the tool for tagging is', 'the tools for tagging and reading text are'."""
    said = listed([WHAT[name] for name in names])
    return f"the tool for {said} is" if len(names) == 1 else f"the tools for {said} are"


def _lacking(desk: Desk, actions: Sequence[Action], kept: Collection[str]) -> list[str]:
    """What is missing so that nothing of a plan can be done: one tool where each call rests on the others, else all;
    none where some are called elsewhere in the conversation."""
    names = list(dict.fromkeys(action.API_name for action in actions))
    new = [name for name in names if name not in kept]
    if names[-1] in _LAST_STEPS:
        return [desk.rng.choice(new)] if new else []
    return new if len(new) == len(names) else []


_LAST_STEPS: Final = frozenset({"inpainting", "controlnet"})
"""Tools that work on what the calls before them gave."""


def _lost(desk: Desk, actions: Sequence[Action], lacking: Sequence[str], kept: Collection[str]) -> set[str]:
    """All that must be missing: what lacks, and one tool of what could take its place, for that would be called; empty
    where the place is taken by what is called elsewhere."""
    lost = set(lacking)
    for action in actions:
        stand_ins = helpers(action) if action.API_name in lacking else ()
        if stand_ins and not lost & set(stand_ins):
            spare = [name for name in stand_ins if name not in kept]
            if not spare:
                return set()
            lost.add(desk.rng.choice(spare))
    return lost


ROW = MissingTool()
