"""Arguments made from a skill's JSON schema: what fits, and what nearly fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from services.core.spec import SkillSpec

Schema = Mapping[str, Any]

WORDS = st.sampled_from(["dog", "red cart", "cat . dog", "what is it?", "beach, night sky", "a dog on the beach."])
TEXTS = WORDS | st.text(st.characters(codec="utf-8"), max_size=30) | st.just(" ") | st.just(" . ")
JUNK = st.sampled_from(
    [None, True, -1, 0, 2, 1e9, float("nan"), "", "junk", "x" * 9000, [], [[]], [[0.9, 0.9, 0.1, 0.1]], {}]
)
COSTLY: Mapping[str, st.SearchStrategy[Any]] = {
    "steps": st.integers(1, 2),
    "size": st.none() | st.sampled_from([[64, 64], [72, 64], [64, 130]]),
}
"""Arguments whose range a test has no time for."""
ITEMS_MAX = 3
INTEGERS_MAX = 2**32


def arguments(spec: SkillSpec) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly calls that should be answered; in some, one argument is junk or nobody's."""
    schema = spec.args_schema()
    properties = schema.get("properties", {})
    fitting = _object(schema, schema.get("$defs", {}))
    names = st.sampled_from([*properties, "no_such_argument"])
    spoilt = st.builds(lambda args, name, junk: args | {name: junk}, fitting, names, JUNK)
    return st.one_of(fitting, fitting, spoilt)


def _object(schema: Schema, defs: Schema) -> st.SearchStrategy[dict[str, Any]]:
    properties = {
        name: COSTLY[name] if name in COSTLY else values(inner, defs)
        for name, inner in schema.get("properties", {}).items()
    }
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: made for name, made in properties.items() if name in required},
        optional={name: made for name, made in properties.items() if name not in required},
    )


def values(schema: Schema, defs: Schema) -> st.SearchStrategy[Any]:
    """Values that the schema allows (what it cannot say, such as the order of a box's corners, may be wrong)."""
    if "$ref" in schema:
        return values(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*(values(inner, defs) for inner in schema["anyOf"]))
    made = _BY_TYPE.get(schema.get("type", ""))
    return made(schema, defs) if made else JUNK


def _numbers(schema: Schema, defs: Schema) -> st.SearchStrategy[float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return st.floats(
        low,
        high,
        allow_nan=False,
        allow_infinity=False,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        width=32 if low is None or high is None else 64,
    )


def _integers(schema: Schema, defs: Schema) -> st.SearchStrategy[int]:
    return st.integers(schema.get("minimum", -INTEGERS_MAX), schema.get("maximum", INTEGERS_MAX))


def _texts(schema: Schema, defs: Schema) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10**6)
    return TEXTS.filter(lambda text: least <= len(text) <= most)


def _arrays(schema: Schema, defs: Schema) -> st.SearchStrategy[list[Any]]:
    if "prefixItems" in schema:
        items = st.tuples(*(values(inner, defs) for inner in schema["prefixItems"])).map(list)
        return items | items.map(_as_box) if len(schema["prefixItems"]) == 4 else items
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", ITEMS_MAX), max(least, ITEMS_MAX))
    return st.lists(values(schema.get("items", {}), defs), min_size=least, max_size=most)


def _as_box(corners: list[float]) -> list[float]:
    (x0, x1), (y0, y1) = sorted(corners[::2]), sorted(corners[1::2])
    return [x0, y0, x1, y1]


_BY_TYPE: Mapping[str, Any] = {
    "number": _numbers,
    "integer": _integers,
    "string": _texts,
    "array": _arrays,
    "object": _object,
    "boolean": lambda schema, defs: st.booleans(),
    "null": lambda schema, defs: st.none(),
}
