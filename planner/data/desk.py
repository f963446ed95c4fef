"""Where one conversation is put together: a picture, words for requests, and the results of the calls made."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, Turn, UserTurn
from planner.data.labels import LabelledObject, LabelledPicture, Noun, Vocabulary
from planner.data.marks import with_marks
from planner.data.phrasebook import Phrasebook, Rewrite, Slots
from planner.data.results import Asked, NoResult, SkillResults, Told, told
from planner.format import Action, PlannerOutput
from services.core.registry import Registry
from services.core.spec import SkillSpec, Symbol

Contents = Sequence[Mapping[str, Any]]
"""What the calls of a request gave, in brief, in their order."""

ANSWERED = "Answer."
NO_TOOL = "No tool needed."
FAILED = "The tool failed."
_COLOURED_SHARE = 0.3
_VOCABULARY_SHARE = 0.4
_SHOWN_SHARE = 0.5
"""How often a picture comes with a request that needs none."""


class ChoiceMade(Exception):
    """The conversation ends with the calls of its first plan: practice in choosing, without results."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How the planner writes.

    Attributes:
        brief: results are shown in brief, as to a small planner.
        thoughts: `short` for a few words, `full` for a sentence that names skill and reason, as in the paper.
    """

    brief: bool = True
    thoughts: Literal["short", "full"] = "short"


@dataclass(frozen=True)
class Request:
    """A wish and how it is met.

    Attributes:
        text: the person's words.
        actions: calls of one plan; arguments may be references such as "$grounding_dino.boxes".
        thoughts: short ones; words that no other kind of request starts with, since their first token decides.
        answer: the answer from what the calls gave.
        marks, given: what the person marked or gave, see `with_marks`.
        reference: the example of an example-based segmentation, with the index of the marked object.
        needs_picture: whether the wish is about a picture.
        pictures: which picture each call is about, where it is not the desk's.
        marked_before: the marks came with an earlier message.
    """

    text: str
    actions: tuple[Action, ...]
    thoughts: str
    answer: Callable[[Contents], str]
    marks: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    given: tuple[Symbol, ...] = ()
    reference: tuple[LabelledPicture, int] | None = None
    needs_picture: bool = True
    pictures: Sequence[LabelledPicture] = ()
    marked_before: bool = False


@dataclass(frozen=True)
class Supplies:
    """What all conversations of a data set draw on."""

    vocabulary: Vocabulary
    general: Sequence[Noun]
    results: SkillResults
    registry: Registry
    voice: Voice = Voice()


class Desk:
    """One conversation in the making.

    Args:
        choice_only: end with the first plan, and ask about things beyond the source's vocabulary.
        beyond: new things are of all sorts, not of the source's vocabulary alone; as `choice_only` when absent.
        may_end: may become `choice_only` when something beyond the source is asked about.
        others: draws another picture of the source.
        rewrite: words requests anew.

    Attributes:
        pictures: all that are shown, where there are several.
        without: skills that are not offered.
        mistaken: how many of the planner's first turns are mistakes, which are seen and not learned.
    """

    def __init__(
        self,
        rng: random.Random,
        picture: LabelledPicture,
        book: Phrasebook,
        supplies: Supplies,
        *,
        choice_only: bool = False,
        beyond: bool | None = None,
        may_end: bool = False,
        others: Callable[[], LabelledPicture] | None = None,
        rewrite: Rewrite | None = None,
    ) -> None:
        self.rng = rng
        self.picture = picture
        self.book = book
        self.choice_only = choice_only
        self.beyond = choice_only if beyond is None else beyond
        self.may_end = may_end
        self.without: tuple[str, ...] = ()
        self.mistaken = 0
        self.others = others or (lambda: picture)
        self.turns: list[Turn] = []
        self.pictures: tuple[LabelledPicture, ...] = ()
        self.skills: list[str] = []
        self._supplies = supplies
        self._rewrite = rewrite
        self._shown = False
        self._newest: dict[str, dict[str, Any]] = {}
        self._symbols: dict[Symbol, Any] = {}

    @property
    def vocabulary(self) -> Vocabulary:
        return self._supplies.vocabulary

    @property
    def conversation(self) -> Conversation:
        return tuple(self.turns)

    @property
    def registry(self) -> Registry:
        return self._supplies.registry

    def one_of(self, *options: Any) -> Any:
        return self.rng.choice(options)

    def ask_beyond(self) -> None:
        """Let the conversation end with the call: what is asked about is beyond what the source can answer.

        Raises:
            NoResult: the conversation has to go on.
        """
        if not (self.choice_only or self.may_end):
            raise NoResult("the wording is about something that the source does not have")
        self.choice_only = self.beyond = True

    # Words

    def slots(self, items: Sequence[LabelledObject] | None = None, present: float = 0.8) -> Slots:
        """Slots whose nouns are things of the picture (`items`, or all), or with 1 - `present` others."""
        found = list(self.picture.objects if items is None else items)
        self.rng.shuffle(found)
        nouns: list[Noun] = []
        for item in found:
            noun = item.noun
            if items is None and item.colour and self.rng.random() < _COLOURED_SHARE:
                noun = noun.coloured(item.colour)
            if all(noun.name != other.name and item.noun.name not in other.name for other in nouns):
                nouns.append(noun)
        if items is None and (self.choice_only or self.rng.random() >= present):
            nouns = []
        extra = self.picture.extra
        given: dict[str, str] = {slot: str(extra[slot]) for slot in ("edit", "scene") if slot in extra}
        return Slots(self.rng, nouns, self.any_noun, self.vocabulary.colours, given, rewrite=self._rewrite)

    def any_noun(self) -> Noun:
        """Something that may not be in the picture; often anything at all where the desk goes beyond the source."""
        if self.beyond and self.rng.random() >= _VOCABULARY_SHARE:
            return self.rng.choice(self._supplies.general)
        noun = self.rng.choice(self.vocabulary.nouns)
        if noun.name in self.vocabulary.coloured and self.rng.random() < _COLOURED_SHARE:
            return noun.coloured(self.rng.choice(self.vocabulary.colours))
        return noun

    # Turns

    def perform(self, request: Request, *, show: bool = True) -> None:
        """The request, its calls, what they gave, and the answer.

        Raises:
            NoResult: a call cannot be answered.
            ChoiceMade: the conversation is to end with the calls.
        """
        self.ask(request, show=show)
        if not request.actions:
            self.say(request.answer([]))
            return
        contents = self.run(request)
        self.say(request.answer(contents), ANSWERED)

    def ask(self, request: Request, *, show: bool = True) -> None:
        """The person's turn. The first one brings the picture where one is needed, and often where none is, unless
        none is to be shown."""
        wanted = request.needs_picture or self.rng.random() < _SHOWN_SHARE
        new = show and wanted and not self._shown
        self._shown = self._shown or new
        text = with_marks(request.text, {} if request.marked_before else request.marks, request.given)
        self.turns.append(UserTurn(text=text, images=(self.picture.name,) if new else ()))

    def plan(self, request: Request) -> None:
        """The planner's calls."""
        self.skills += [action.API_name for action in request.actions]
        thoughts, value = request.thoughts, ""
        if self._supplies.voice.thoughts == "full":
            thoughts, value = self._full(request)
        actions = tuple(self._ordered(action) for action in request.actions)
        self.turns.append(AssistantTurn(output=PlannerOutput(thoughts=thoughts, actions=actions, value=value)))
        if self.choice_only:
            raise ChoiceMade

    def _ordered(self, action: Action) -> Action:
        """The call with its arguments in their schema's order: planners that are bound to the schema write them so."""
        fields = list(self._supplies.registry.spec(action.API_name).args_model.model_fields)
        names = sorted(action.API_params, key=lambda name: fields.index(name) if name in fields else len(fields))
        return action.model_copy(update={"API_params": {name: action.API_params[name] for name in names}})

    def run(self, request: Request) -> Contents:
        """The calls and their results, in brief whatever the planner is shown."""
        self.plan(request)
        seen, contents = [], []
        for number, action in enumerate(request.actions):
            picture = request.pictures[number] if request.pictures else self.picture
            result = self._result(action, request, picture)
            self._newest[action.API_name] = result.raw
            shown = result.brief if self._supplies.voice.brief else result.whole
            seen.append(Observation(skill=action.API_name, content=shown))
            contents.append(result.brief)
        self.turns.append(ObservationTurn(observations=tuple(seen), question=request.text))
        return contents

    def fail(self, request: Request, error: str) -> None:
        """The calls and their failure."""
        self.plan(request)
        seen = tuple(Observation(skill=one.API_name, content={"error": error}, failed=True) for one in request.actions)
        self.turns.append(ObservationTurn(observations=seen, question=request.text))

    def mistake(self, said: PlannerOutput, seen: Observation, question: str) -> None:
        """What the planner should not have said, and what it is told of that; before all that it says rightly."""
        assert not any(isinstance(turn, AssistantTurn) for turn in self.turns[2 * self.mistaken :])
        self.mistaken += 1
        self.turns += [AssistantTurn(output=said), ObservationTurn(observations=(seen,), question=question)]

    def say(self, value: str, thoughts: str = NO_TOOL) -> None:
        """An answer."""
        if self._supplies.voice.thoughts == "full" and thoughts == ANSWERED:
            thoughts = "The results of the tools are there, so I can answer now."
        self.turns.append(AssistantTurn(output=PlannerOutput(thoughts=thoughts, value=value)))

    def _result(self, action: Action, request: Request, picture: LabelledPicture) -> Told:
        spec = self._supplies.registry.spec(action.API_name)
        fields = spec.args_model.model_fields
        symbols = {str(symbol) for symbol in spec.consumes} - fields.keys()
        args = {name: self._resolved(value) for name, value in action.API_params.items() if name not in symbols}
        marked = {"point" if name == "points" and "point" in fields else name: v for name, v in request.marks.items()}
        if not args.keys() & {"boxes", "points", "point"}:
            args |= {name: value for name, value in marked.items() if name in fields}
            # A person marks one thing: for sam its points are one list of several.
            args |= {name: [list(args[name])] for name in ("points", "point_labels") if name in args}
        _check(spec, args)
        asked = Asked(action.API_name, args, picture, request.reference, dict(self._symbols), self.rng.randrange(2**32))
        result = told(self._supplies.registry, action.API_name, self._supplies.results.call(asked))
        made = {symbol: result.raw.get(name) for name, symbol in spec.produces.items()}
        self._symbols |= {symbol: value for symbol, value in made.items() if value}
        return result

    def _resolved(self, value: Any) -> Any:
        if not (isinstance(value, str) and value.startswith("$")):
            return value
        skill, _, path = value[1:].partition(".")
        found: Any = self._newest.get(skill)
        for step in path.split("."):
            try:
                found = found[int(step)] if step.isdecimal() else found[step]
            except (KeyError, IndexError, TypeError):
                raise NoResult("an earlier result lacks what the call refers to") from None
        return found

    def _full(self, request: Request) -> tuple[str, str]:
        """Thoughts and remark as the paper's data has them."""
        specs = [self._supplies.registry.spec(action.API_name) for action in request.actions]
        names = " and ".join(spec.name for spec in specs)
        reasons = " ".join(f"{spec.name}: {spec.summary}" for spec in specs)
        return f"The wish needs {names}. {reasons}", f"I will use {names} for this. Please wait for the results."


def _check(spec: SkillSpec, args: Mapping[str, Any]) -> None:
    try:
        spec.args_model.model_validate(dict(args))
    except ValidationError as error:
        where = error.errors()[0]["loc"]
        raise NoResult(f"{spec.name}: {where[0] if where else 'a call'} does not fit its schema") from None
