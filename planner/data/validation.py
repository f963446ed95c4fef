"""Whether a conversation is fit to learn from: known skills, arguments and results of their schemas, inputs at hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from planner.conversation import AssistantTurn, Conversation, ObservationTurn, UserTurn, without_mistakes
from planner.data.marks import GIVEN
from planner.format import Action
from services.core.errors import UnknownSkill
from services.core.registry import Registry
from services.core.spec import SkillSpec, Symbol


class Refused(Exception):
    """A sample is not fit; the text is the reason, the same for all of its kind."""


class Validator:
    """Checks conversations.

    Args:
        skills: names that may be called; None for all that are installed.
        forbidden: normalised requests of evaluation sets.
    """

    def __init__(
        self,
        registry: Registry,
        skills: Collection[str] | None = None,
        *,
        chars_max: int = 6000,
        forbidden: Collection[str] = (),
    ) -> None:
        self._registry = registry
        self._skills = skills
        self._chars_max = chars_max
        self._forbidden = forbidden

    def check(self, conversation: Conversation, without: Collection[str] = (), mistaken: int = 0) -> None:
        """Raises `Refused`.

        Args:
            without: skills that are not offered in this conversation.
            mistaken: how many of the planner's first turns are mistakes: they, and what it is told of them, need fit
                nothing.
        """
        conversation = without_mistakes(conversation, mistaken)
        self._order(conversation)
        self._texts(conversation)
        have: set[Symbol] = set()
        plan: Sequence[Action] = ()
        for turn in conversation:
            if isinstance(turn, UserTurn):
                have |= {Symbol.IMAGE} if turn.images else set()
                have |= {symbol for symbol, words in GIVEN.items() if words in turn.text}
            elif isinstance(turn, AssistantTurn):
                plan = turn.output.actions
                for action in plan:
                    if action.API_name in without:
                        raise Refused(f"{action.API_name}: not offered, and called")
                    self._call(action, have)
            else:
                self._results(turn, plan)

    def _order(self, conversation: Conversation) -> None:
        if not conversation or not isinstance(conversation[0], UserTurn):
            raise Refused("does not start with a person")
        if not isinstance(conversation[-1], AssistantTurn):
            raise Refused("does not end with the planner")
        for before, turn in pairwise(conversation):
            if isinstance(before, AssistantTurn) == isinstance(turn, AssistantTurn):
                raise Refused("planner and others do not take turns")
            if isinstance(before, AssistantTurn) and isinstance(turn, ObservationTurn) != bool(before.output.actions):
                raise Refused("calls and results do not go together")

    def _texts(self, conversation: Conversation) -> None:
        chars = 0
        for turn in conversation:
            if isinstance(turn, UserTurn):
                chars += len(turn.text)
                if not turn.text.strip():
                    raise Refused("an empty question")
                if normalised_request(turn.text) in self._forbidden:
                    raise Refused("a request of an evaluation set")
            elif isinstance(turn, AssistantTurn):
                chars += len(turn.output.value)
                if turn.output.is_answer and not turn.output.value.strip():
                    raise Refused("an empty answer")
        if chars > self._chars_max:
            raise Refused("too long")

    def _call(self, action: Action, have: set[Symbol]) -> None:
        spec = self._spec(action.API_name)
        symbols = {str(symbol) for symbol in Symbol}
        params = {k: v for k, v in action.API_params.items() if k in spec.args_model.model_fields or k not in symbols}
        later = {name for name, value in params.items() if isinstance(value, str) and value.startswith("$")}
        try:
            spec.args_model.model_validate({name: value for name, value in params.items() if name not in later})
        except ValidationError as error:
            wrong = [one for one in error.errors() if not one["loc"] or one["loc"][0] not in later]
            if wrong:
                where = str(wrong[0]["loc"][0]) if wrong[0]["loc"] else "arguments"
                raise Refused(f"{spec.name}: {where} does not fit its schema") from None
        lacking = spec.consumes - have - {Symbol.REFERENCE_MASK}
        # A picture that is missing is asked for; a mask or map that nothing made is a mistake of the row.
        if lacking:
            raise Refused(f"{spec.name}: no {sorted(lacking)[0].replace('_', ' ')} to work on")
        have |= set(spec.produces.values())

    def _spec(self, name: str) -> SkillSpec:
        try:
            spec = self._registry.spec(name)
        except UnknownSkill:
            raise Refused("an unknown skill") from None
        if self._skills is not None and spec.name not in self._skills:
            raise Refused(f"{spec.name}: not among the recipe's skills")
        return spec

    def _results(self, turn: ObservationTurn, plan: Sequence[Action]) -> None:
        if [self._spec(seen.skill).name for seen in turn.observations] != [
            self._spec(action.API_name).name for action in plan
        ]:
            raise Refused("results are not those of the calls")
        for seen in turn.observations:
            if not seen.failed:
                self._content(self._spec(seen.skill), seen.content)

    def _content(self, spec: SkillSpec, content: dict[str, Any]) -> None:
        """What the planner is shown is of the result's fields; brief forms name a few things otherwise."""
        known = {*spec.result_model.model_fields, "text", "message", "found"}
        if not content or not content.keys() <= known:
            raise Refused(f"{spec.name}: a result that is not of its schema")


def normalised_request(text: str) -> str:
    """Letters and digits of a request's first line in lower case: requests that share this are the same."""
    line = text.split("\n", 1)[0].lower().replace("'", "")
    return " ".join("".join(char if char.isalnum() else " " for char in line).split())
