"""Boxes, points and masks hold for the picture in which they were found, and for those that were made from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.orchestrator.arguments import MARKED
from gateway.orchestrator.known import Known
from gateway.orchestrator.planned import FromAction, PlannedCall
from gateway.orchestrator.references import Reference, part_of, references_in
from gateway.orchestrator.shapes import field_named
from services.core.errors import BadArguments
from services.core.spec import Symbol

_IN = {
    Symbol.MASK: Symbol.IMAGE,
    Symbol.IMAGE_SEG: Symbol.IMAGE,
    Symbol.REFERENCE_MASK: Symbol.REFERENCE_IMAGE,
}
"""Which input of a call another one is a place in."""
Given = str | Reference | FromAction
Origin = str | int
"""The picture that others were made from: a handle, or the index of an action that paints one from nothing."""


class Places:
    """Tells calls whose places are about another picture than the one that they work on.

    Args:
        calls: of a plan, with their inputs; in those without an error nothing waits in a circle.
    """

    def __init__(self, calls: Sequence[PlannedCall], known: Known) -> None:
        self._calls = calls
        self._known = known

    def check(self, call: PlannedCall) -> None:
        """Refuse places of another picture.

        An action of the same plan may give places for another picture where the call names that one: this is how a
        planner says that it means it.

        Raises:
            BadArguments: says which pictures they are, and what to write.
        """
        for argument, picture, place in _places(call):
            worked_on = call.inputs.get(picture)
            found_in = self._found_in(call, place)
            if worked_on is None or found_in is None:
                continue
            if _index(call, place) is not None and str(picture) in call.params:
                continue
            origins = {self._origin(call, worked_on), self._origin(*found_in)}
            if len(origins) > 1 and None not in origins:
                raise BadArguments(self._refusal(call, argument, picture, place), argument=argument)

    def _found_in(self, call: PlannedCall, place: Reference | FromAction) -> tuple[PlannedCall, Given] | None:
        """The picture that a place was found in, with the call whose references it is in terms of."""
        index = _index(call, place)
        if index is not None:
            finder = self._calls[index]
            given = finder.inputs.get(Symbol.IMAGE) if finder.error is None else None
            return (finder, given) if given is not None else None
        assert isinstance(place, Reference), "what an action makes has its index"
        handle = call.sources[place].made_by.get("images", {}).get(str(Symbol.IMAGE))
        return (call, handle) if handle is not None else None

    def _origin(self, call: PlannedCall, given: Given) -> Origin | None:
        if isinstance(given, str):
            return self._known.origin(given)
        index = _index(call, given)
        if index is None:
            return self._known.origin(self._earlier(call, given))
        maker = self._calls[index]
        source = maker.inputs.get(Symbol.IMAGE) or maker.inputs.get(Symbol.IMAGE_SEG)
        if maker.error is not None:
            return None
        return index if source is None else self._origin(maker, source)

    def _earlier(self, call: PlannedCall, given: Given) -> str:
        assert isinstance(given, Reference), "what an action makes has its index"
        return str(part_of(call.sources[given].result, given))

    def _refusal(self, call: PlannedCall, argument: str, picture: Symbol, place: Reference | FromAction) -> str:
        found_in = self._found_in(call, place)
        assert found_in is not None, "only a place whose picture is known is refused"
        there, here = self._words(*found_in), self._words(call, call.inputs[picture])
        what = place if isinstance(place, Reference) else f"the {argument} of action {place.index + 1}"
        told = (
            f"{call.name}: {what} is about {there or 'another picture'}, but its {picture} is {here or 'another one'}"
        )
        again = f"call {self._finder(call, place)} on that one first"
        return f'{told}: {again}, or say "{picture}": "{there}".' if there else f"{told}: {again}."

    def _finder(self, call: PlannedCall, place: Reference | FromAction) -> str:
        index = _index(call, place)
        if index is not None:
            return self._calls[index].name
        assert isinstance(place, Reference), "what an action makes has its index"
        spec = call.sources[place].spec
        assert spec is not None, "a person's marks are not asked about"
        return spec.name

    def _words(self, call: PlannedCall, given: Given) -> str | None:
        """What a planner may write for a picture."""
        if isinstance(given, str):
            return self._known.gallery.name_of(given)
        index = _index(call, given)
        if index is None:
            return self._known.gallery.name_of(self._earlier(call, given))
        produced = self._calls[index].known_spec.produces
        field = next((name for name, symbol in produced.items() if symbol is Symbol.IMAGE), None)
        return f"${index + 1}.{field}" if field else None


def _places(call: PlannedCall) -> Iterator[tuple[str, Symbol, Reference | FromAction]]:
    """The places that a call is given: argument or input, the input that they are in, and where they come from."""
    for name, value in call.args.items():
        if MARKED & {name, field_named(call.known_spec.args_model, name)}:
            for found in references_in(value):
                if call.sources[found].spec is not None:
                    yield name, Symbol.IMAGE, found
    for symbol, picture in _IN.items():
        given = call.inputs.get(symbol)
        if isinstance(given, Reference | FromAction):
            yield str(symbol), picture, given


def _index(call: PlannedCall, given: Given) -> int | None:
    """Which action of the plan it comes from."""
    if isinstance(given, FromAction):
        return given.index
    return call.sources[given].index if isinstance(given, Reference) else None
