"""Turns in which something goes wrong: the planner makes it good where it can, and says so where it cannot.

Errors are worded as the gateway words them (`gateway.orchestrator`), after which it lets a planner try once more for
each kind of mistake. What passes by itself, such as a busy tool, is called again; what broke on the picture is not. A
mistake of the planner's own is shown and not learned (`Desk.mistake`); what it does next is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from planner.conversation import Observation
from planner.data.desk import ANSWERED, FAILED, Desk, Request
from planner.data.rows.kinds import fitting
from planner.dialects.tolerant import loads
from planner.format import Action, PlannerOutput, UnparsableOutput
from planner.prompt import compact_json

ONCE_MORE: Final = "Once more."
_PASSING = (
    "{skill} did not answer in time.",
    "{skill} did not answer within the call's deadline.",
    "{skill} has too many calls waiting. Try again.",
    "{skill} is not running yet. Try again.",
    "{skill} cannot be reached. Try again.",
    "{skill} cannot be loaded now. Try again.",
    "{skill} cannot answer now. Try again.",
    "{skill} is not available.",
)
_LASTING = (
    "{skill} broke on this input.",
    "{skill} failed on this picture.",
    "{skill} failed: it ran out of memory.",
    "{skill}: the model broke.",
)
_APOLOGIES = (
    "Sorry, the tool failed. Please try again later.",
    "Sorry, that did not work: the tool failed.",
    "I am sorry, the tool is not working now. Please try again later.",
)
_TWICE_SHARE = 0.4
"""Of failures, those that were called twice in vain."""
_EXCERPT_CHARS: Final = 300
"""As much of a reply that cannot be read as the gateway shows the planner again."""
_STRANGE_ARGUMENTS: Final = (
    ("mode", "fast"),
    ("confidence", 0.8),
    ("language", "en"),
    ("detail", "high"),
    ("object", "it"),
    ("count", 3),
)
_STRANGE_NAMES: Final = ("{}_v2", "{}_tool", "my_{}", "run_{}", "{}_large")


@dataclass(frozen=True)
class Failure:
    """A tool that fails, at once for good or twice; the planner says so."""

    name: str = "failure"
    title: str = "Failed calls"
    skills: tuple[str, ...] = ()
    whole: bool = True

    def build(self, desk: Desk) -> None:
        request = fitting(desk, lambda one: True)
        desk.ask(request)
        if desk.rng.random() < _TWICE_SHARE:
            desk.fail(request, _error(desk, request, _PASSING))
            desk.fail(replace(request, thoughts=ONCE_MORE), _error(desk, request, _PASSING))
        else:
            desk.fail(request, _error(desk, request, _LASTING))
        desk.say(desk.rng.choice(_APOLOGIES), FAILED)


@dataclass(frozen=True)
class Repaired:
    """A tool that was busy, or a call or a reply that could not be read; the planner calls once more, and rightly."""

    name: str = "repaired"
    title: str = "Mistakes made good"
    skills: tuple[str, ...] = ()
    whole: bool = True

    def build(self, desk: Desk) -> None:
        request = fitting(desk, lambda one: len(one.actions) == 1)
        desk.ask(request)
        trouble = desk.rng.choices((_busy, _strange_argument, _strange_name, _broken_text), (0.5, 0.2, 0.15, 0.15))[0]
        trouble(desk, request)
        contents = desk.run(replace(request, thoughts=ONCE_MORE))
        desk.say(request.answer(contents), ANSWERED)


def _busy(desk: Desk, request: Request) -> None:
    desk.fail(request, _error(desk, request, _PASSING))


def _strange_argument(desk: Desk, request: Request) -> None:
    (action,) = request.actions
    spec = desk.registry.spec(action.API_name)
    name, value = desk.rng.choice([one for one in _STRANGE_ARGUMENTS if one[0] not in spec.args_model.model_fields])
    fields = ", ".join(spec.args_model.model_fields) or "none"
    error = f"{spec.name} has no argument {name!r}; it takes: {fields}."
    _mistaken_call(
        desk, request, action.model_copy(update={"API_params": dict(action.API_params) | {name: value}}), error
    )


def _strange_name(desk: Desk, request: Request) -> None:
    (action,) = request.actions
    name = desk.rng.choice(_STRANGE_NAMES).format(action.API_name)
    known = ", ".join(spec.name for spec in desk.registry.specs())
    error = f"No tool is called {name!r}. Did you mean {action.API_name}? Known tools: {known}."
    _mistaken_call(desk, request, action.model_copy(update={"API_name": name}), error)


def _mistaken_call(desk: Desk, request: Request, action: Action, error: str) -> None:
    said = PlannerOutput(thoughts=request.thoughts, actions=(action,))
    desk.mistake(said, Observation(skill=action.API_name, content={"error": error}, failed=True), request.text)


def _broken_text(desk: Desk, request: Request) -> None:
    """As the gateway tells it: an excerpt, as if it had been said, and what is wrong."""
    text = compact_json(PlannerOutput(thoughts=request.thoughts, actions=request.actions).model_dump(mode="json"))
    reason = ""
    while not reason:
        broken = text[: desk.rng.randrange(1, min(len(text), _EXCERPT_CHARS))]
        try:
            loads(broken)
        except UnparsableOutput as error:
            reason = error.reason
    seen = Observation(skill="reply", content={"error": reason}, failed=True)
    desk.mistake(PlannerOutput(value=broken), seen, request.text)


def _error(desk: Desk, request: Request, words: tuple[str, ...]) -> str:
    name = request.actions[0].API_name if request.actions else "The tool"
    error: str = desk.rng.choice(words)
    return error.format(skill=name)


ROWS = (Failure(), Repaired())
