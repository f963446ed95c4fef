"""Several turns about one picture, several wishes in one message, and follow-ups that rest on what was found before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.data.answers import there
from planner.data.desk import ANSWERED, Contents, Desk, Request
from planner.data.labels import Noun
from planner.data.phrasebook import read_wordings
from planner.data.results import NoResult
from planner.data.rows.base import Maker, argument, call, captioned
from planner.data.rows.captions import caption
from planner.data.rows.conversation import chat, impossible
from planner.data.rows.detection import SKILL as DETECTOR
from planner.data.rows.detection import count, detect, found, where
from planner.data.rows.interactive import segment_levels, segment_marked
from planner.data.rows.kinds import NAMED, SEVERAL, UNDERSTANDING
from planner.data.rows.later import after_talk, another_tool, known_already, the_same_elsewhere
from planner.data.rows.painting import along_this_map, edit, generate, inpaint_marked, marked
from planner.data.rows.plans import NOUNS, PLANS
from planner.data.rows.reading import read_part, read_whole
from planner.data.rows.referring import by_pronoun, on_another_picture
from planner.data.rows.semantic_segmentation import whole
from planner.data.wordings import lines
from planner.format import Action

_WRITTEN_SHARE = 0.45
"""How often several wishes are one written sentence, and not joined from single ones."""
_EARLIER_SHARE = 0.4
"""How often follow-ups and several wishes come late: another wish was met before."""
_FINDING: tuple[Maker, ...] = (detect, detect, where, count)
_MIX = (
    "grounding_dino",
    "grounding_dino+sam",
    "openseed",
    "blip2",
    "blip2+grounding_dino",
    "ram",
    "ram+grounding_dino",
)


@dataclass(frozen=True)
class SeveralTurns:
    """Two to four different requests, one after the other, with a remark between them now and then."""

    name: str = "mixed"
    title: str = "Mixed, several turns"
    skills: tuple[str, ...] = _MIX
    whole: bool = True

    def build(self, desk: Desk) -> None:
        for maker in desk.rng.sample(UNDERSTANDING, desk.rng.choice((2, 2, 3, 3, 4))):
            desk.perform(maker(desk))
            if desk.rng.random() < 0.12:
                desk.perform(chat(desk))


@dataclass(frozen=True)
class SeveralWishes:
    """Two or three wishes in one message: one plan with all calls."""

    name: str = "wishes"
    title: str = "Several wishes at once"
    skills: tuple[str, ...] = (*_MIX, "easyocr", "clip_retrieval", "stable_diffusion", "instruct_pix2pix")
    whole: bool = True

    def build(self, desk: Desk) -> None:
        _earlier(desk)
        if desk.rng.random() < _WRITTEN_SHARE:
            desk.perform(_written(desk))
            return
        count = 3 if desk.rng.random() < 0.1 else 2
        wishes: list[Request] = []
        while len(wishes) < count:
            wish = desk.rng.choice(SEVERAL)(desk)
            if all(wish.actions[0].API_name != other.actions[0].API_name for other in wishes):
                wishes.append(wish)
        text = wishes[0].text
        for wish in wishes[1:]:
            text = joined(desk.rng.choice(lines("seams.txt")), text, wish.text)

        wishes.sort(key=lambda wish: _drawn_last(wish.actions[0]))

        def answer(got: Contents) -> str:
            return _together([wish.answer([content]) for wish, content in zip(wishes, got, strict=True)])

        actions = tuple(action for wish in wishes for action in wish.actions)
        desk.perform(Request(text, actions, "Several wishes.", answer))


def _written(desk: Desk) -> Request:
    """Wishes that were written as one sentence; named things are shared out in their order."""
    wording = desk.book.deal("wishes", lambda: read_wordings("wishes", kinds=True))
    slots = desk.slots()
    text = slots.spoken(wording.text)
    nouns = [noun for noun in slots.nouns if noun.name in slots.asked]
    planned = []
    for position, kind in enumerate(kinds := wording.kind.split()):
        place = sum(one in NOUNS for one in kinds[:position])
        own = nouns[min(place, len(nouns) - 1) :][:1] if kind in NOUNS and nouns else []
        planned.append(PLANS[kind](slots, own))
    planned.sort(key=lambda one: _drawn_last(one[0]))

    def answer(got: Contents) -> str:
        return _together([tell([content]) for (_, _, tell), content in zip(planned, got, strict=True)])

    return Request(text, tuple(action for action, _, _ in planned), "Several wishes.", answer)


def _drawn_last(action: Action) -> bool:
    """A plan's picture from nothing comes after all else: what follows it would be done to that picture."""
    return action.API_name == "stable_diffusion"


def _together(said: list[str]) -> str:
    """Answers one after the other; on lines of their own where one has several lines."""
    return ("\n" if any("\n" in one for one in said) else " ").join(said)


def joined(seam: str, first: str, second: str) -> str:
    """Two wishes as one message; inside a sentence, stops and capitals give way."""
    if seam in ("{1} and {2}", "{1} + {2}"):
        first = first.rstrip(".!?")
    before = seam[: seam.index("{2}")].rstrip()
    if before and before[-1] not in ".!?:)" and not second.startswith(("I ", "I'")):
        second = second[:1].lower() + second[1:]
    return seam.replace("{1}", first).replace("{2}", second)


@dataclass(frozen=True)
class FollowUps:
    """A second message that can only be understood from the first."""

    name: str = "follow_ups"
    title: str = "Follow-ups"
    skills: tuple[str, ...] = (
        *_MIX, "sam", "inpainting", "controlnet", "easyocr", "instruct_pix2pix", "stable_diffusion", "clip_retrieval"
    )  # fmt: skip
    whole: bool = True

    def build(self, desk: Desk) -> None:
        kinds: Sequence[tuple[float, Callable[[Desk], None]]] = (
            (0.2, _the_same),
            (0.12, _how_many),
            (0.15, _cut_out),
            (0.11, _repaint),
            (0.12, _marked_before),
            (0.1, _along_the_map),
            (0.1, _edit_again),
            (0.06, _of_the_text),
            (0.06, _remark),
            (0.18, by_pronoun),
            (0.16, on_another_picture),
            (0.25, another_tool),
            (0.2, after_talk),
            (0.12, the_same_elsewhere),
            (0.14, known_already),
        )
        weights, makers = zip(*kinds, strict=True)
        chosen = desk.rng.choices(makers, weights)[0]
        _earlier(desk)
        chosen(desk)


def _earlier(desk: Desk) -> None:
    """Now and then a wish before those that matter; none for a picture, so that the one sent stays the first."""
    if desk.rng.random() < _EARLIER_SHARE:
        desk.perform(desk.rng.choice(UNDERSTANDING)(desk))


def _the_same(desk: Desk) -> None:
    """'And the cat?' after a request about the dog: the same skill once more."""
    maker = desk.rng.choice(NAMED)
    first = maker(desk)
    desk.perform(first)
    wording, slots = desk.book.deal("follow_same"), desk.slots(present=0.7)
    text = slots.spoken(wording.text)
    named = captioned(slots, wording)
    action = first.actions[0]
    again = replace(
        first,
        text=text,
        actions=(action.model_copy(update={"API_params": {"caption": named}}),),
        answer=lambda got: found([noun for noun in slots.nouns if noun.name in named], got, numbers=False),
    )
    if maker is NAMED[2]:
        again = replace(again, answer=lambda got: there(_nouns(slots.nouns, named), got[0]))
    desk.perform(again)


def _nouns(nouns: Sequence[Noun], named: str) -> list[Noun]:
    names = named.split(" . ")
    return [noun for noun in nouns if noun.name in names]


def _how_many(desk: Desk) -> None:
    """The number of what was found is told without another call."""
    _, got = _detected(desk)
    count = len(got[0]["phrases"])
    desk.perform(_without_tool(desk, "follow_number", f"{count}."))


def _cut_out(desk: Desk) -> None:
    _, got = _detected(desk, desk.rng.choice(_FINDING))
    if not got[0]["boxes"]:
        raise NoResult("nothing was found that could be cut out")
    boxes: Any = f"${DETECTOR}.boxes"
    text = desk.slots().spoken(desk.book.deal("follow_cut").text)
    count = len(got[0]["boxes"])
    said = "Here is the mask." if count == 1 else f"Here are the {count} masks."
    desk.perform(Request(text, (call("sam", boxes=boxes),), "Mask the marked.", lambda got: said))


def _detected(desk: Desk, maker: Maker = detect) -> tuple[Request, Contents]:
    first = maker(desk)
    desk.ask(first)
    got = desk.run(first)
    desk.say(first.answer(got), ANSWERED)
    return first, got


def _repaint(desk: Desk) -> None:
    """The mask of what was cut out is there: painting needs no other call."""
    first = NAMED[3](desk)
    desk.ask(first)
    got = desk.run(first)
    desk.say(first.answer(got), ANSWERED)
    if not got[0]["boxes"]:
        raise NoResult("nothing was cut out that could be repainted")
    wording, slots = desk.book.deal("follow_inpaint"), desk.slots([])
    text = slots.spoken(wording.text)
    prompt = argument(slots, wording, "{a_new}")
    desk.perform(
        Request(
            text, (call("inpainting", prompt=prompt),), "Repaint there.", lambda got: f"Done: {prompt} is there now."
        )
    )


def _marked_before(desk: Desk) -> None:
    """Marks stay those of the session until there are others: a later message needs no line about them."""
    kind = desk.rng.choice(("mask", "levels", "paint"))
    first = segment_marked(desk) if kind != "mask" else caption(desk)
    marks = first.marks or marked(desk)
    if kind != "mask" and not first.marks:
        raise NoResult("the place stands in the text itself")
    desk.perform(replace(first, marks=marks))
    second = {"mask": segment_marked, "levels": segment_levels, "paint": inpaint_marked}[kind](desk)
    if second.given or (not second.marks and kind != "paint"):
        raise NoResult("the second message brings its own place")
    # What is marked has been cut out by then, so that painting needs no other call.
    actions = second.actions[-1:] if kind == "paint" else second.actions
    desk.perform(replace(second, actions=actions, marks=marks, marked_before=True))


def _along_the_map(desk: Desk) -> None:
    desk.perform(whole(desk))
    desk.perform(along_this_map(desk))


def _edit_again(desk: Desk) -> None:
    """A picture that was changed or painted is changed again."""
    desk.perform(edit(desk) if desk.rng.random() < 0.6 else generate(desk))
    desk.perform(edit(desk), show=False)


def _of_the_text(desk: Desk) -> None:
    """A part of a text that was read is told from what is known."""
    second = read_part(desk)
    lines_of_it = desk.picture
    first = read_whole(desk)
    desk.picture = lines_of_it
    desk.perform(first)
    desk.perform(Request(second.text, (), "", second.answer))


def _remark(desk: Desk) -> None:
    desk.perform(desk.rng.choice(UNDERSTANDING)(desk))
    desk.perform(desk.rng.choice((chat, impossible))(desk))


def _without_tool(desk: Desk, wordings: str, said: str) -> Request:
    text = desk.slots().spoken(desk.book.deal(wordings).text)
    return Request(text, (), "", lambda got: said)


ROWS = (SeveralTurns(), SeveralWishes(), FollowUps())
