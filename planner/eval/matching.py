"""Whether planned calls are a right way to meet a request, and whether their arguments are right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any

from pydantic import ValidationError

from planner.eval.cases import Constraint, ExpectedCall, GivenMarks, Way
from planner.format import Action
from services.core.spec import SkillSpec, Symbol

PHRASE_WORDS_MAX = 7
"""A detector's caption names things; a longer phrase is a copied sentence."""
_TOLERANCE, _EXACT = 0.03, 1e-6
_MARKED = frozenset({"boxes", "points", "point", "point_labels"})
_SYMBOLS = frozenset(str(symbol) for symbol in Symbol)
_CURRENT = frozenset({"image", "picture", "current", "this", "last", "newest", "latest", "current image", "last image"})
_PARTS: Mapping[str, tuple[ExpectedCall, ExpectedCall]] = {
    "grounding_dino+sam": (
        ExpectedCall(skill="grounding_dino"),
        ExpectedCall(skill="sam", args={"boxes": Constraint(refers="grounding_dino.boxes")}),
    ),
    "ram+grounding_dino": (
        ExpectedCall(skill="ram"),
        ExpectedCall(skill="grounding_dino", args={"caption": Constraint(free=True)}),
    ),
    "blip2+grounding_dino": (
        ExpectedCall(skill="blip2", args={"prompt": Constraint(free=True, optional=True)}),
        ExpectedCall(skill="grounding_dino", args={"caption": Constraint(free=True)}),
    ),
}


@dataclass(frozen=True)
class Tools:
    """Specs by every name they have."""

    specs: tuple[SkillSpec, ...]
    by_name: Mapping[str, SkillSpec] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {name: spec for spec in self.specs for name in spec.names})

    def canonical(self, name: str) -> str:
        spec = self.by_name.get(name)
        return spec.name if spec else name


@dataclass(frozen=True)
class Context:
    """What arguments may refer to.

    Attributes:
        results: the newest observation of each skill, as the planner saw it.
        newest: the number of the current picture.
    """

    marks: GivenMarks = field(default_factory=GivenMarks)
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    newest: int = 1


def ways_with_parts(ways: Sequence[Way]) -> list[Way]:
    """The ways, and those in which a composite's parts are called one after the other, which comes to the same."""
    return [
        tuple(group for groups in choice for group in groups)
        for way in ways
        for choice in product(*([(group,), *_in_parts(group)] for group in way))
    ]


def _in_parts(group: tuple[ExpectedCall, ...]) -> Iterator[Way]:
    if len(group) != 1 or group[0].skill not in _PARTS:
        return
    whole = group[0]
    thresholds = {name: value for name, value in whole.args.items() if name.endswith("_threshold")}
    caption = {name: value for name, value in whole.args.items() if name == "caption"}
    yield tuple(
        (part.model_copy(update={"args": dict(part.args) | caption | thresholds}),)
        if part.skill == "grounding_dino"
        else (part,)
        for part in _PARTS[whole.skill]
    )


def progress(called: Sequence[str], way: Way) -> bool | None:
    """True when the calls are the whole way, False when they are its beginning, None when they leave it."""
    rest = list(called)
    for group in way:
        open_ = Counter(call.skill for call in group)
        while rest and +open_:
            if open_[rest[0]] <= 0:
                return None
            open_[rest.pop(0)] -= 1
        if +open_:
            return False
    return None if rest else True


def best_faults(actions: Sequence[Action], ways: Sequence[Way], tools: Tools, context: Context) -> list[str]:
    """What is wrong with the arguments, measured by the way that they fit best.

    Args:
        actions: a whole way's calls, as `progress` says.
    """
    names = [tools.canonical(action.API_name) for action in actions]
    options = [_way_faults(actions, way, tools, context) for way in ways if progress(names, way)]
    return min(options, key=len) if options else []


def _way_faults(actions: Sequence[Action], way: Way, tools: Tools, context: Context) -> list[str]:
    faults: list[str] = []
    start = 0
    for group in way:
        ours = actions[start : start + len(group)]
        start += len(group)
        orders = [
            order
            for order in permutations(group)
            if [call.skill for call in order] == [tools.canonical(action.API_name) for action in ours]
        ]
        tried: list[list[str]] = [
            [
                fault
                for action, call in zip(ours, order, strict=True)
                for fault in faults_of(action, call, tools, context)
            ]
            for order in orders
        ]
        fewest = sorted(tried, key=len)[0]
        faults += fewest
    return faults


def faults_of(action: Action, expected: ExpectedCall, tools: Tools, context: Context) -> list[str]:
    """What is wrong with one call's arguments: "SKILL.ARGUMENT: what"."""
    spec = tools.by_name[action.API_name]
    args = dict(action.API_params)
    faults = [f"{name}: {wrong}" for name, wrong in _constraint_faults(args, expected, context)]
    for name, value in args.items():
        if name in expected.args or (expected.marks and name in _MARKED):
            continue
        if name in _SYMBOLS and name not in spec.args_model.model_fields:
            if not _is_current(value, context):
                faults.append(f"{name}: names another picture")
        elif not _is_default(spec, name, value):
            faults.append(f"{name}: not asked for")
    if expected.marks:
        faults += _mark_faults(args, context)
    if not faults and not is_valid(action, spec):
        faults.append("arguments: the skill would not take them")
    return [f"{spec.name}.{fault}" for fault in faults]


def is_valid(action: Action, spec: SkillSpec) -> bool:
    """Whether the skill takes the arguments, as far as they are written out; marks may still be filled in."""
    given = {name: value for name, value in action.API_params.items() if name not in _SYMBOLS - _fields(spec)}
    later = {name for name, value in given.items() if _refers(value)}
    try:
        spec.args_model.model_validate({name: value for name, value in given.items() if name not in later})
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            where = str(one["loc"][0]) if one["loc"] else ""
            if where and where not in later:
                return False
    return True


def _fields(spec: SkillSpec) -> frozenset[str]:
    return frozenset(spec.args_model.model_fields)


def _constraint_faults(args: Mapping[str, Any], expected: ExpectedCall, context: Context) -> Iterator[tuple[str, str]]:
    for name, wanted in expected.args.items():
        if name not in args or args[name] in (None, "", []):
            if not wanted.optional:
                yield name, "missing"
            continue
        value = args[name]
        wrong = _wrong(value, wanted, context)
        if wrong:
            yield name, wrong
        elif name == "caption" and any(len(phrase.split()) > PHRASE_WORDS_MAX for phrase in _text(value).split(".")):
            yield name, "a sentence, not names of things"


def _wrong(value: Any, wanted: Constraint, context: Context) -> str:
    if wanted.free:
        return ""
    if wanted.refers:
        return "" if _refers_to(value, wanted.refers, context) else "another result"
    if wanted.equals is not None:
        return "" if _near(value, wanted.equals, _EXACT) else "another value"
    if wanted.near is not None:
        return "" if _near(value, wanted.near, _TOLERANCE) else "another place"
    text = _text(value).casefold()
    lacking = [words for words in wanted.has if not any(word.casefold() in text for word in words.split("|"))]
    return f"lacks {', '.join(lacking)}" if lacking else ""


def _text(value: Any) -> str:
    return " . ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


def _refers(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_refers(item) for item in value)
    return (isinstance(value, str) and value.startswith("$")) or (isinstance(value, dict) and "$ref" in value)


def _refers_to(value: Any, wanted: str, context: Context) -> bool:
    skill, _, name = wanted.rpartition(".")
    written = value.get("$ref") if isinstance(value, dict) else value
    if isinstance(written, str):
        return re.fullmatch(rf"\$?(?:{re.escape(skill)}|\d+)\.{name}(?:[.\[]\w+\]?)*", written) is not None
    known = context.results.get(skill, {}).get(name)
    return known is not None and _near(value, known, _TOLERANCE)


def _near(value: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(_near(one, other, tolerance) for one, other in zip(value, wanted, strict=True))
        )
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return bool(value == wanted)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value - wanted) <= tolerance


def _is_current(value: Any, context: Context) -> bool:
    if _refers(value):
        return True
    said = str(value).casefold().replace("_", " ").strip("$<> ").removeprefix("the ")
    return said in _CURRENT or said in {f"image {context.newest}", f"picture {context.newest}"}


def _is_default(spec: SkillSpec, name: str, value: Any) -> bool:
    field_ = spec.args_model.model_fields.get(name)
    if field_ is None or field_.is_required():
        return False
    default = field_.get_default(call_default_factory=True)
    if value in (None, "", []):
        return default in (None, "", (), [])
    return _near(value, list(default) if isinstance(default, tuple) else default, _EXACT)


def _mark_faults(args: Mapping[str, Any], context: Context) -> list[str]:
    given = context.marks.model_dump()
    faults = []
    for name in sorted(_MARKED & args.keys()):
        value, mark = args[name], "points" if name == "point" else name
        if isinstance(value, str):
            good = value == f"$user.{mark}"
        else:
            good = _near(_numbers(value), _numbers(given[mark]), _TOLERANCE)
        if not good:
            faults.append(f"{name}: not what was marked")
    return faults


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []
