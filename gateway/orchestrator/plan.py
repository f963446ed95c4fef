"""Checks a plan before any of it runs: names, arguments, references, types, and that nothing waits in a circle."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from gateway.orchestrator.arguments import validate, with_marks
from gateway.orchestrator.known import Known
from gateway.orchestrator.places import Places
from gateway.orchestrator.planned import FromAction, PlannedCall, Source
from gateway.orchestrator.references import USER, Reference, reference, references_in
from gateway.orchestrator.shapes import Fit, Shape, field_named, fit, shape_of
from gateway.ports import SkillClient
from gateway.state.models import Marks
from planner.format import Action
from services.core.errors import BadArguments, SkillError, UnknownSkill
from services.core.spec import SkillSpec, Symbol

WANTED = {
    Symbol.IMAGE: "a picture and the conversation has none: ask for one",
    Symbol.MASK: "a mask and the conversation has none: call a tool that finds one first",
    Symbol.IMAGE_SEG: "a segmentation map and the conversation has none: call a tool that makes one first",
    Symbol.REFERENCE_IMAGE: "a reference picture and the conversation has none",
    Symbol.REFERENCE_MASK: "a reference mask and the conversation has none",
}
KIND_OF = {
    Symbol.IMAGE: Symbol.IMAGE,
    Symbol.REFERENCE_IMAGE: Symbol.IMAGE,
    Symbol.MASK: Symbol.MASK,
    Symbol.REFERENCE_MASK: Symbol.MASK,
    Symbol.IMAGE_SEG: Symbol.IMAGE_SEG,
}
"""What kind of produced symbol may stand where one is consumed."""
_KIND_WORDS = {Symbol.IMAGE: "a picture", Symbol.MASK: "a mask", Symbol.IMAGE_SEG: "a segmentation map"}


def checked(actions: Sequence[Action], known: Known, skills: SkillClient) -> list[PlannedCall]:
    """Every action of a plan, ready to run or with its error."""
    calls = [PlannedCall(index, action.API_name, dict(action.API_params)) for index, action in enumerate(actions)]
    check = _Check(calls, known, skills)
    check.each(check.resolve)
    check.each(check.arguments)
    check.circles()
    check.each(check.pictures)
    check.each(Places(calls, known).check)
    return calls


class _Check:
    def __init__(self, calls: list[PlannedCall], known: Known, skills: SkillClient) -> None:
        self.calls = calls
        self.known = known
        self.skills = skills

    def each(self, step: Callable[[PlannedCall], None]) -> None:
        for call in self.calls:
            if call.error is None:
                try:
                    step(call)
                except SkillError as error:
                    call.error = error

    def resolve(self, call: PlannedCall) -> None:
        call.spec = resolved(call.name, self.skills)
        call.name = call.spec.name

    def arguments(self, call: PlannedCall) -> None:
        """Split what is meant for symbols from the arguments; check both, as far as they are known."""
        spec = call.known_spec
        for name, value in call.params.items():
            symbol = _symbol(spec, name)
            if symbol is not None:
                chosen = self._chosen(call, symbol, value)
                if chosen is not None:
                    call.inputs[symbol] = chosen
            else:
                call.args[name] = value
        with_marks(call, self.known.marks)
        for found in [found for value in call.args.values() for found in references_in(value)]:
            self._follow(call, found)
        self._types(call)
        validate(call)

    def circles(self) -> None:
        """Actions that wait for each other fail together."""
        for call in self.calls:
            if call.error is None and call.index in self._behind(call.index):
                others = sorted(
                    one.index + 1 for one in self.calls if call.index in self._behind(one.index) and one is not call
                )
                what = f"actions {call.index + 1} and {others[0]} wait" if others else "it waits"
                call.error = BadArguments(f"{call.name}: {what} for each other: break the circle.")
        for call in self.calls:
            if call.error is not None:
                call.needs.clear()

    def pictures(self, call: PlannedCall) -> None:
        """What an action does not say is filled as if the actions were run one after the other."""
        spec = call.known_spec
        for symbol in sorted(spec.consumes):
            if symbol in call.inputs:
                continue
            maker = self._maker(call, symbol)
            if maker is not None:
                call.inputs[symbol] = FromAction(maker.index, symbol)
                call.needs.add(maker.index)
            elif symbol in self.known.symbols:
                call.inputs[symbol] = self.known.symbols[symbol]
            else:
                raise BadArguments(f"{spec.name} needs {WANTED[symbol]}.", argument=str(symbol))

    def _maker(self, call: PlannedCall, symbol: Symbol) -> PlannedCall | None:
        for other in reversed(self.calls[: call.index]):
            makes = other.spec is not None and symbol in other.spec.produces.values()
            if makes and call.index not in self._behind(other.index):
                return other
        return None

    def _behind(self, index: int) -> set[int]:
        """The actions that one waits for, directly or not."""
        seen: set[int] = set()
        todo = list(self.calls[index].needs)
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo.extend(self.calls[one].needs)
        return seen

    def _chosen(self, call: PlannedCall, symbol: Symbol, value: Any) -> str | Reference | None:
        """The picture that an action names; None leaves the choice open."""
        found = reference(value)
        if found is not None:
            source = self._follow(call, found)
            kind = _symbol_kind(source, found)
            if kind is not KIND_OF[symbol]:
                given = _KIND_WORDS[kind] if kind else _shape(source, found).words()
                raise BadArguments(
                    f"{call.name}: {symbol} takes {_KIND_WORDS[KIND_OF[symbol]]}, but {found} is {given}.",
                    argument=str(symbol),
                )
            return found
        if value is None or (isinstance(value, str) and _generic(value, symbol)):
            return None
        handle = self.known.gallery.find(value) if isinstance(value, str) else None
        if handle is None and isinstance(value, str) and value in self.known.symbols.values():
            handle = value
        if handle is None:
            raise BadArguments(
                f"{call.name}: {symbol} must name a picture of the conversation ({self.known.gallery.names()}) or a "
                'result, for example "$1.edited_image"; or leave it out for the newest.',
                argument=str(symbol),
            )
        return handle

    def _follow(self, call: PlannedCall, found: Reference) -> Source:
        source = self._source(call, found)
        call.sources[found] = source
        if source.index is not None:
            call.needs.add(source.index)
        if _shape_or_none(source, found) is None:
            model = Marks if source.spec is None else source.spec.result_model
            raise BadArguments(f"{found}: {_label(source)} gives {', '.join(model.model_fields)}.")
        return source

    def _source(self, call: PlannedCall, found: Reference) -> Source:
        if found.source == USER:
            marks = self.known.marks.given()
            if found.path[0] not in marks:
                raise BadArguments(f"{found}: the person marked {', '.join(marks) or 'nothing'}.")
            return Source(None, result=marks)
        position = found.position
        if position is not None:
            return self._numbered(call, found, position)
        spec = resolved(found.source, self.skills)
        same = [one for one in self.calls if one.spec is not None and one.spec.name == spec.name and one is not call]
        earlier = [other for other in same if other.index < call.index]
        if earlier:
            return Source(spec, earlier[-1].index)
        if spec.name in self.known.results:
            return Source(spec, result=self.known.results[spec.name], made_by=self.known.calls.get(spec.name, {}))
        if same:
            return Source(spec, same[0].index)
        raise BadArguments(f"{found}: {spec.name} has no result yet; call it first.")

    def _numbered(self, call: PlannedCall, found: Reference, position: int) -> Source:
        if position == call.index:
            raise BadArguments(
                f"{found} is this action itself; an earlier step's result is named by its tool, for example "
                f'"$grounding_dino.boxes".'
            )
        if not 0 <= position < len(self.calls):
            raise BadArguments(f"{found}: this plan has no action {found.source}, it has {len(self.calls)}.")
        other = self.calls[position]
        if other.spec is None:
            raise BadArguments(f"{found}: action {found.source} ({other.name}) cannot run.")
        return Source(other.spec, position)

    def _types(self, call: PlannedCall) -> None:
        """References have the type that is wanted in their place, be it a whole argument or a part of one."""
        spec = call.known_spec
        wanted = shape_of(spec.args_model, "validation")
        for name, value in call.args.items():
            found = reference(value)
            known = field_named(spec.args_model, name)
            target = wanted.at([known]) if known else None
            if target is None:
                continue
            if found is None:
                self._parts(call, name, value, [target])
                continue
            given = _shape(call.sources[found], found)
            how = fit(given, target)
            if how is None:
                raise _misfit(call, name, found, target)
            call.fits[name] = how

    def _parts(self, call: PlannedCall, name: str, value: Any, wanted: Sequence[Shape]) -> None:
        """References inside an argument; a place that the argument's type does not know is left to validation."""
        found = reference(value)
        if found is not None:
            given = _shape(call.sources[found], found)
            if wanted and not any(fit(given, one) is Fit.AS_IS for one in wanted):
                raise _misfit(call, name, found, wanted[0])
            return
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, item in items:
            places = [one.at([step]) for shape in wanted for one in shape.alternatives()]
            self._parts(call, name, item, [place for place in places if place is not None])


def resolved(name: str, skills: SkillClient) -> SkillSpec:
    """The spec that a planner's name means.

    Raises:
        UnknownSkill: none; names that are close come first.
    """
    try:
        return skills.resolve(name)
    except UnknownSkill:
        names = [known for spec in skills.specs() for known in spec.names]
        close = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.5)
        offered = ", ".join(spec.name for spec in skills.specs()) or "none"
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UnknownSkill(f"No tool is called {name!r}.{hint} Known tools: {offered}.") from None


def _symbol(spec: SkillSpec, name: str) -> Symbol | None:
    """The symbol that a parameter stands for, unless the skill has an argument of that name."""
    if field_named(spec.args_model, name) is None and name in set(spec.consumes):
        return Symbol(name)
    return None


def _generic(words: str, symbol: Symbol) -> bool:
    """Whether words say no more than that there is one: "mask", "the mask", "<image>"."""
    said = words.strip().strip("$<>\"'").casefold().removeprefix("the ").replace(" ", "_")
    return said in ("", str(symbol), f"{symbol}s")


def _symbol_kind(source: Source, found: Reference) -> Symbol | None:
    produced = source.spec.produces.get(str(found.path[0])) if source.spec else None
    if produced is not None and (len(found.path) == 1 or produced is Symbol.MASK):
        return produced
    shape = _shape(source, found)
    if shape.is_mask:
        return Symbol.MASK
    return Symbol.IMAGE if shape.is_picture else None


def _misfit(call: PlannedCall, name: str, found: Reference, wanted: Shape) -> BadArguments:
    given = _shape(call.sources[found], found)
    return BadArguments(f"{call.name}: {name} takes {wanted.words()}, but {found} is {given.words()}.", argument=name)


def _shape_or_none(source: Source, found: Reference) -> Shape | None:
    model = Marks if source.spec is None else source.spec.result_model
    return shape_of(model, "serialization").at(found.path)


def _shape(source: Source, found: Reference) -> Shape:
    shape = _shape_or_none(source, found)
    assert shape is not None, "references are followed before their type is asked for"
    return shape


def _label(source: Source) -> str:
    return source.spec.name if source.spec else "the person's message"
