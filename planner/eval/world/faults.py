"""Whose fault a wrong answer is: the planner's calls or words, a skill's failure or result, or the platform's.

The planner's calls are held against those that the question needs (`Turn.accept`), by the rules by which hand-written
requests are judged (`planner.eval.matching`). Whether its words are at fault is found by putting what the skills said
in their place: if that is right, the planner had been told and said something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Literal, get_args

from planner.eval.cases import GivenMarks, Way
from planner.eval.command import EvaluationError
from planner.eval.gateway import PlatformGone, Reply
from planner.eval.matching import Context, Tools, best_faults, progress, ways_with_parts
from planner.eval.world.turns import Eyes, Turn
from planner.format import Action

Plan = Literal["right", "no call", "another call", "other arguments", "cannot be read"]
Fault = Literal[
    "planner: no call",
    "planner: another call",
    "planner: other arguments",
    "planner: cannot be read",
    "planner: its words",
    "skill: failed",
    "skill: its result",
    "platform: no answer",
    "cannot be checked",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
CANNOT_BE_CHECKED, REFUSED = "cannot be checked", "refused"
"""How the reasons begin that say no more of the answer than that."""
_BY_CALL: Mapping[Plan, Fault] = {
    "no call": "planner: no call",
    "another call": "planner: another call",
    "other arguments": "planner: other arguments",
    "cannot be read": "planner: cannot be read",
}
_CALLED_WRONGLY = frozenset({"bad_arguments", "unknown_skill", "image_not_found"})
_FOLLOWS = "input_missing"


@dataclass(frozen=True)
class Made:
    """A call that the planner made; `error` is its kind where it failed, `result` what it gave where it did not."""

    action: Action
    error: str = ""
    result: Mapping[str, Any] | None = None


def made_by(reply: Reply) -> list[Made]:
    """The planner's calls in order, each with how it ended."""
    pairs = [
        pair
        for step in reply.steps
        if step.get("kind", "plan") == "plan"
        for pair in zip_longest(step["actions"], step["results"])
    ]
    return [
        Made(Action.model_validate(action), _kind_of(record), (record or {}).get("result"))
        for action, record in pairs
        if action is not None
    ]


def _kind_of(record: Mapping[str, Any] | None) -> str:
    error = (record or {}).get("error")
    return str(error.get("kind")) if isinstance(error, Mapping) else ""


def planned(turn: Turn, reply: Reply, tools: Tools) -> Plan:
    """Whether the planner called the right skills with the right arguments.

    Calls that were refused for their name or arguments and made good later do not count against it, and neither does
    what it did after a skill had failed or found nothing.
    """
    made, ways = made_by(reply), _left_to_call(turn.accept, reply, tools)
    for calls in (
        made,
        [one for one in made if one.error not in _CALLED_WRONGLY],
        [one for one in made if not one.error],
    ):
        if any(progress(_names(calls, tools), way) for way in ways):
            actions = [one.action for one in calls]
            return "other arguments" if best_faults(actions, ways, tools, _context(turn, reply)) else "right"
    if _let_down(made, ways, tools):
        return "right"
    if made:
        return "another call"
    return "cannot be read" if _unreadable(reply) else "no call"


def _names(made: Sequence[Made], tools: Tools) -> list[str]:
    return [tools.canonical(one.action.API_name) for one in made]


def _left_to_call(accept: Sequence[Way], reply: Reply, tools: Tools) -> list[Way]:
    """The right ways without what the platform ran before it asked the planner (mode `all_tools`)."""
    ran = {
        tools.canonical(str(record["skill"]))
        for step in reply.steps
        if step.get("kind") == "all_tools"
        for record in step["results"]
        if "result" in record
    }
    ways = ways_with_parts(accept)
    short = [tuple(group for group in way if not {call.skill for call in group} <= ran) for way in ways]
    return ways + [way for way in short if way not in ways]


def _let_down(made: Sequence[Made], ways: Sequence[Way], tools: Tools) -> bool:
    """Whether the planner was on a right way until a skill failed or found nothing."""
    for place, one in enumerate(made):
        failed = one.error and one.error not in _CALLED_WRONGLY
        empty = any((one.result or {}).get(name) == [] for name in ("boxes", "masks_rle"))
        if failed or empty:
            names = _names(made[: place + 1], tools)
            return any(progress(names, way) is not None for way in ways)
    return False


def _unreadable(reply: Reply) -> bool:
    """Whether a planner's reply that asked for nothing was not the answer."""
    plans = [step for step in reply.steps if step.get("kind", "plan") == "plan"]
    return any(not step["actions"] and step.get("value", "") not in reply.answer for step in plans)


def _context(turn: Turn, reply: Reply) -> Context:
    given = turn.given
    points = [list(point) for point in given.points]
    marks = GivenMarks(points=points, point_labels=[1] * len(points), boxes=[list(box) for box in given.boxes])
    results = {str(record["skill"]): record["result"] for record in _records(reply) if "result" in record}
    return Context(marks=marks, results=results)


def _records(reply: Reply) -> Iterator[Mapping[str, Any]]:
    for step in reply.steps:
        yield from step["results"]


async def fault(turn: Turn, reply: Reply, wrong: str, plan: Plan, eyes: Eyes) -> Fault | None:
    """What was at fault; None where nothing is wrong.

    Args:
        wrong: what the question's check says of the reply.
        plan: see `planned`.
    """
    if not wrong:
        return None
    if wrong.startswith(REFUSED):
        return "platform: no answer"
    if plan in _BY_CALL:
        return _BY_CALL[plan]
    last = {str(record["skill"]): _kind_of(record) for record in _records(reply)}
    if any(error not in ("", _FOLLOWS, *_CALLED_WRONGLY) for error in last.values()):
        return "skill: failed"
    if wrong.startswith(CANNOT_BE_CHECKED):
        return "cannot be checked"
    texts = said_by_skills(reply)
    try:
        for text in (*texts, *((turn.ideal,) if turn.ideal else ())):
            if not await turn.check(replace(reply, answer=text), eyes):
                return "planner: its words"
    except PlatformGone:
        raise
    except EvaluationError:
        return "cannot be checked"
    # Without any call there was nobody but the planner to be wrong.
    return "skill: its result" if list(_records(reply)) else "planner: its words"


def said_by_skills(reply: Reply) -> list[str]:
    """What the skills' results say, as answers of their own."""
    texts: list[str] = []
    for result in reply.results():
        texts += [str(result[name]) for name in ("caption",) if name in result]
        texts += [", ".join(result[name]) for name in ("tags", "phrases") if name in result]
        texts += [" ".join(result["texts"])] if "texts" in result else []
        texts += [str(found["caption"]) for found in result.get("retrieval_results", ())]
        if "phrases" in result:
            boxes = result["boxes"]
            texts += [str(len(boxes)), "yes" if boxes else "no", *(str(list(box)) for box in boxes)]
    return texts
