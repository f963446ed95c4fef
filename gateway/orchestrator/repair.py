"""What went wrong in a turn: the planner gets one more try for each kind of mistake, and the person an honest note."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.orchestrator.calls import CallResult, in_plain_words
from planner.conversation import AssistantTurn, Observation, ObservationTurn, Turn
from planner.format import PlannerOutput, UnparsableOutput

UNPARSABLE, UNKNOWN_TOOL, BAD_CALL, SKILL = "unparsable", "unknown_tool", "bad_call", "skill"
_KINDS = {"unknown_skill": UNKNOWN_TOOL, "bad_arguments": BAD_CALL, "image_not_found": BAD_CALL}
_FOLLOWS = "input_missing"
"""Not a mistake of its own: something before it failed, or found nothing."""

NOTHING_FOUND = "I could not work out an answer. Please ask in other words."
NO_ROOM = "There was no room for an answer: allow more tokens (max_tokens), or ask for less at once."
OVER_LIMIT = "no more calls were allowed"
BROKEN_OFF = "The answer broke off."
RESULTS_ONLY = "I could not put the results into words. They are:\n"
_EXCERPT_CHARS = 300
_NAME_CHARS = 40
_WORDS = {
    "unknown_skill": "there is no such tool",
    "bad_arguments": "it was not called rightly",
    "image_not_found": "a picture is gone",
    "input_missing": "what it needs could not be had",
    "deadline_exceeded": "it took too long",
    "skill_overloaded": "it is too busy now",
    "skill_unavailable": "it is not available now",
}


class Repairs:
    """Counts tries: one more for each kind of mistake, and none after that."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def allow(self, kind: str) -> bool:
        """Whether the planner may try again after a mistake of this kind, which is then used up."""
        allowed = kind not in self._used
        self._used.add(kind)
        return allowed

    def allow_after(self, results: Sequence[CallResult]) -> bool:
        """Whether the planner may go on calling skills after these results."""
        errors = [str(result.error.get("kind")) for result in results if result.error is not None]
        kinds = {_KINDS.get(error, SKILL) for error in errors if error != _FOLLOWS}
        allowed = [self.allow(kind) for kind in sorted(kinds)]
        return all(allowed)


def told_to_rewrite(error: UnparsableOutput, question: str) -> tuple[Turn, ...]:
    """What the planner sees after output that cannot be read: an excerpt of it, what is wrong, and the question."""
    said = AssistantTurn(output=PlannerOutput(value=error.text[:_EXCERPT_CHARS]))
    wrong = Observation(skill="reply", content={"error": error.reason[:_EXCERPT_CHARS]}, failed=True)
    return said, ObservationTurn(observations=(wrong,), question=question)


def results_in_words(results: Sequence[CallResult], *, cut: bool = False) -> str:
    """An answer where the planner gave none.

    Args:
        cut: a limit is why it gave none.
    """
    known = [in_plain_words(result) for result in results if result.error is None]
    return RESULTS_ONLY + "\n".join(known) if known else NO_ROOM if cut else NOTHING_FOUND


def shortfalls(plans: Sequence[Sequence[CallResult]], unrun: Iterable[str] = ()) -> str:
    """A note about calls that failed and were not made good by a later plan, or never ran; "" when there are none.

    Args:
        plans: the results of each plan, in order; calls of one plan are different wishes, even of the same tool.
        unrun: tools of calls for which no more were allowed.
    """
    notes: dict[str, str] = {}
    for index, results in enumerate(plans):
        later = [result for plan in plans[index + 1 :] for result in plan]
        for result in results:
            if result.error is not None and not _made_good(result, later):
                kind = str(result.error.get("kind"))
                notes[_shown(result.skill)] = _WORDS.get(kind, "it failed")
    notes |= {shown: OVER_LIMIT for name in unrun if (shown := _shown(name)) not in notes}
    return f"Not done: {'; '.join(f'{name} ({why})' for name, why in notes.items())}." if notes else ""


def _made_good(failed: CallResult, later: Iterable[CallResult]) -> bool:
    assert failed.error is not None
    any_tool = failed.error.get("kind") == "unknown_skill"
    return any(one.error is None and (any_tool or one.skill == failed.skill) for one in later)


def _shown(name: Any) -> str:
    """A name that a planner may have invented, fit for an answer."""
    return "".join(char if char.isprintable() else " " for char in str(name)[:_NAME_CHARS]).strip() or "a tool"
