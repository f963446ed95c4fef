from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from deploy.cli.schema_text import Shape, shape_of, value_of
from deploy.cli.tool_command import options_of
from deploy.errors import UsageError
from llava_plus import Tool
from services.skills.openseed import OpenSeedArgs
from services.skills.sam import SamArgs
from services.skills.semantic_sam import SemanticSamArgs
from services.skills.stable_diffusion import StableDiffusionArgs

NUMBER, WORDS = Shape("number", 0), Shape("string", 1)
BOXES, POINTS = Shape("number", 2, length=4), Shape("number", 3, length=2)


def shape(model: type[BaseModel], name: str) -> Shape:
    schema = model.model_json_schema()
    return shape_of(schema["properties"][name], schema)


def test_the_shapes_of_real_skills_are_read_off_their_schemas() -> None:
    assert shape(SamArgs, "boxes") == BOXES
    assert shape(SamArgs, "points") == POINTS
    assert shape(SamArgs, "point_labels") == Shape("integer", 2, (0, 1))
    assert shape(SemanticSamArgs, "point") == Shape("number", 2, length=2)
    assert shape(OpenSeedArgs, "classes") == WORDS
    assert shape(StableDiffusionArgs, "size") == Shape("integer", 1, length=2)
    assert shape(StableDiffusionArgs, "seed") == Shape("integer", 0)
    assert shape(StableDiffusionArgs, "prompt") == Shape("string", 0)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$ref": "#/$defs/Size"}, Shape("string", 0, ("s", "l"))),
        ({"type": "object"}, Shape("json", None)),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, Shape("json", None)),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}, Shape("json", None)),
        ({"type": "array", "items": {"type": "object"}}, Shape("json", None)),
        ({"const": "en", "type": "string"}, Shape("string", 0, ("en",))),
        ({}, Shape("json", None)),
    ],
)
def test_what_cannot_be_typed_plainly_is_json(schema: dict[str, Any], expected: Shape) -> None:
    assert shape_of(schema, {"$defs": {"Size": {"enum": ["s", "l"], "type": "string"}}}) == expected


@pytest.mark.parametrize(
    ("texts", "shape", "expected"),
    [
        (["0.5"], NUMBER, 0.5),
        (["a", "b,c"], WORDS, ["a", "b,c"]),
        (["7"], Shape("integer", 0), 7),
        (["true"], Shape("boolean", 0), True),
        (["64,128"], Shape("integer", 1, length=2), [64, 128]),
        (["1,2", "3"], Shape("integer", 1), [1, 2, 3]),
        (["0,0,1,1"], BOXES, [[0.0, 0.0, 1.0, 1.0]]),
        (["0,0,1,1", "0.5, 0.5, 1, 1"], BOXES, [[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]]),
        (["0,0,1,1;0,0,1,0.5"], BOXES, [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]]),
        (["0.5,0.5"], POINTS, [[[0.5, 0.5]]]),
        (["0.5,0.5;0.1,0.1", "0.2,0.2"], POINTS, [[[0.5, 0.5], [0.1, 0.1]], [[0.2, 0.2]]]),
        (["1,0"], Shape("integer", 2, (0, 1)), [[1, 0]]),
        (["[[[0.5, 0.5]]]"], POINTS, [[[0.5, 0.5]]]),
        (['{"a": 1}'], Shape("json", None), {"a": 1}),
        (["[0.5"], Shape("string", 0), "[0.5"),
    ],
)
def test_values_are_read_as_their_shape_asks(texts: list[str], shape: Shape, expected: Any) -> None:
    assert value_of(texts, shape, "--it") == expected


@pytest.mark.parametrize(
    ("texts", "shape", "told"),
    [
        (["many"], NUMBER, "--it: 'many' is no number; write NUMBER"),
        (["0,0,1"], BOXES, "has 3 numbers, not 4 (X0,Y0,X1,Y1)"),
        (["x"], Shape("string", 0, ("s", "l")), "'x' is none of s, l"),
        (["2"], Shape("integer", 2, (0, 1)), "'2' is none of 0, 1"),
        (["[1,"], POINTS, "not valid JSON"),
        (["yes"], Shape("boolean", 0), "'yes' is no boolean"),
        (["1"], Shape("integer", 4), "write this one as JSON"),
    ],
)
def test_a_value_of_another_form_is_refused_with_the_form(texts: list[str], shape: Shape, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        value_of(texts, shape, "--it")
    assert told in str(refused.value)


def test_an_argument_that_is_called_like_an_own_option_gets_another_flag() -> None:
    properties = {"output": {"type": "string"}, "mask": {"type": "boolean"}, "top_k": {"type": "integer", "default": 3}}
    tool = Tool(name="t", consumes=["image", "mask"], arguments={"properties": properties, "required": ["top_k"]})
    assert [(option.name, option.flag) for option in options_of(tool)] == [
        ("output", "--arg-output"),
        ("mask", "--arg-mask"),
        ("top_k", "--top-k"),
    ]
