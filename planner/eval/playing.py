"""Plays a request with a planner: what it calls, and what it says in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from planner.api import Planner, PlannerDone, PlanRequest, PromptTooLong
from planner.conversation import (
    AssistantTurn,
    Conversation,
    Observation,
    ObservationTurn,
    Turn,
    UserTurn,
)
from planner.eval.cases import Case, Given
from planner.eval.matching import Tools, is_valid, progress, ways_with_parts
from planner.eval.stock import stock_result
from planner.format import Action, PlannerOutput, UnparsableOutput
from services.core.context import CallContext

Words = Callable[[str, Given], str]
"""The words in which a planner is asked: the person's, and what is said of marks, masks and examples."""

STEPS_MAX = 5
TOKENS_MAX = 400
_DEADLINE_S = 600.0


@dataclass
class Played:
    """How a request went.

    Attributes:
        actions: all calls, as `Action`s' data, in order.
        answer: what the planner said in the end, None where it was not asked that far.
        broken: why its output could not be read.
        seconds: of every planner call.
    """

    actions: list[dict[str, Any]] = field(default_factory=list)
    answer: str | None = None
    broken: str = ""
    seconds: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Played:
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})

    @property
    def calls(self) -> list[Action]:
        return [Action.model_validate(action) for action in self.actions]


class Player(Protocol):
    """Anything that a request can be played with."""

    name: str

    async def play(self, case: Case) -> Played:
        """Raises what the planner raises when it cannot answer now."""
        ...


class PlannerPlayer:
    """Plays with any `planner.api.Planner`; results of skills are stock ones.

    A planner is asked as long as its calls are the beginning of a right way. What comes after a whole way, or after a
    wrong call, is not asked for, except where the request wants a text too.

    Args:
        tools: the skills that are offered.
        words: see `Words`.
        picture: the handle that stands for a request's picture `number` (from 1).
    """

    def __init__(
        self, planner: Planner, tools: Tools, words: Words, picture: Callable[[int], str] = "noise:{}".format
    ) -> None:
        self.name = planner.model
        self._planner = planner
        self._tools = tools
        self._words = words
        self._picture = picture

    async def play(self, case: Case) -> Played:
        conversation = self._opening(case)
        played, ways = Played(), ways_with_parts(case.accept)
        for _ in range(STEPS_MAX):
            output = await self._asked(conversation, played)
            if output is None:
                return played
            if output.is_answer:
                played.answer = output.value
                return played
            played.actions += [action.model_dump(mode="json") for action in output.actions]
            called = [self._tools.canonical(action["API_name"]) for action in played.actions]
            states = [progress(called, way) for way in ways]
            if not (False in states or (True in states and case.answer is not None)):
                return played
            conversation = (*conversation, AssistantTurn(output=output), self._observed(output, case.text))
        return played

    async def _asked(self, conversation: Conversation, played: Played) -> PlannerOutput | None:
        request = PlanRequest(conversation=conversation, tools=self._tools.specs, max_tokens=TOKENS_MAX)
        context = CallContext(request_id=uuid4().hex, owner="evaluation", deadline=time.time() + _DEADLINE_S)
        started, done = time.perf_counter(), None
        try:
            async for event in self._planner.plan(request, context):
                done = event if isinstance(event, PlannerDone) else done
        except UnparsableOutput as error:
            played.broken = f"{error.reason}: {error.text[:300]}"
        except PromptTooLong as error:
            played.broken = str(error)
        played.seconds.append(round(time.perf_counter() - started, 3))
        if done is None:
            return None
        played.prompt_tokens += done.prompt_tokens
        played.completion_tokens += done.completion_tokens
        if done.cut:
            played.broken = f"longer than {TOKENS_MAX} tokens"
            return None
        return done.output

    def _opening(self, case: Case) -> Conversation:
        pictures = tuple(self._picture(number) for number in range(1, case.given.pictures + 1))
        turns: list[Turn] = []
        question = ""
        for event in case.before:
            if event.user is not None:
                question = event.user
                turns.append(UserTurn(text=question, images=pictures))
                pictures = ()
            elif event.assistant is not None:
                turns.append(AssistantTurn(output=PlannerOutput(value=event.assistant)))
            elif event.call is not None and event.result is not None:
                made = Action(API_name=event.call.skill, API_params=event.call.args)
                observation = Observation(skill=event.call.skill, content=event.result)
                turns.append(AssistantTurn(output=PlannerOutput(actions=(made,))))
                turns.append(ObservationTurn(observations=(observation,), question=question))
        return (*turns, UserTurn(text=self._words(case.text, case.given), images=pictures))

    def _observed(self, output: PlannerOutput, question: str) -> ObservationTurn:
        return ObservationTurn(
            observations=tuple(
                Observation(
                    skill=self._tools.canonical(action.API_name),
                    content=stock_result(self._tools.canonical(action.API_name), action.API_params),
                )
                for action in output.actions
            ),
            question=question,
        )


def readable(played: Played, tools: Tools) -> bool:
    """Whether everything the planner said can be acted on: read, known skills, arguments that they take."""
    if played.broken:
        return False
    for action in played.calls:
        spec = tools.by_name.get(action.API_name)
        if spec is None or not is_valid(action, spec):
            return False
    return True
