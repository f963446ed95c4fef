"""A tool as a command: its options are made from the JSON schema that the platform serves."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli.platform_client import AsJson, Timeout, Url
from deploy.cli.schema_text import Shape, shape_of, value_of
from deploy.errors import UsageError
from llava_plus import Tool

IMAGE = "image"
ARGUMENTS = "Arguments of the tool"
_OWN: Mapping[str, tuple[Any, Any]] = {
    "args": (
        Annotated[
            str | None,
            typer.Option("--args", metavar="JSON", help="Arguments as a JSON object; options overrule it."),
        ],
        None,
    ),
    "output": (
        Annotated[
            Path | None,
            typer.Option(
                "-o", "--output", metavar="PATH", help="Where pictures that it makes, or its masks, go: file or folder."
            ),
        ],
        None,
    ),
    "overlay": (
        Annotated[
            Path | None,
            typer.Option("--overlay", metavar="FILE", help="Write the picture with what was found drawn over it."),
        ],
        None,
    ),
    "fresh": (
        Annotated[bool, typer.Option("--fresh", help="Run it again where an equal call's result is kept.")],
        False,
    ),
    "job": (Annotated[bool, typer.Option("--job", help="Leave it to a job, and print its id.")], False),
    "timeout": (Timeout, None),
    "as_json": (AsJson, False),
    "url": (Url, None),
}
_RESERVED = frozenset({"args", "output", "overlay", "fresh", "job", "timeout", "json", "url", "help"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a person asked a tool for on the command line.

    Attributes:
        inputs: pictures by symbol, `image` among them.
        chosen: values of the command's own options (`output`, `overlay`, `fresh`, ...).
    """

    tool: Tool
    inputs: dict[str, str]
    arguments: dict[str, Any]
    chosen: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Option:
    """One argument of a tool as an option."""

    name: str
    flag: str
    shape: Shape
    help: str

    @property
    def annotation(self) -> Any:
        described: dict[str, Any] = {"help": self.help, "show_default": False, "rich_help_panel": ARGUMENTS}
        if self.shape.kind == "boolean" and self.shape.rank == 0:
            return Annotated[bool | None, typer.Option(f"{self.flag}/--no-{self.flag.removeprefix('--')}", **described)]
        option = typer.Option(self.flag, metavar=self.shape.metavar, **described)
        return Annotated[list[str] | None if self.shape.several else str | None, option]

    def read(self, given: Any) -> Any:
        """Raises UsageError."""
        if isinstance(given, bool):
            return given
        return value_of([given] if isinstance(given, str) else given, self.shape, self.flag)


def tool_command(tool: Tool, run: Callable[[ToolCall], None]) -> typer.Typer:
    """A command of its own for the tool.

    Args:
        run: what is done with a call that reads well.
    """
    options = options_of(tool)

    def command(**given: Any) -> None:
        run(_call(tool, options, given))

    parameters: dict[str, tuple[Any, Any]] = {}
    for symbol in sorted(tool.consumes, key=lambda one: one != IMAGE):
        parameters[f"input_{symbol}"] = (_input(symbol), inspect.Parameter.empty)
    parameters |= {f"argument_{option.name}": (option.annotation, None) for option in options}
    parameters |= _OWN
    described: Any = command
    described.__signature__ = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in parameters.items()
        ]
    )
    described.__annotations__ = {name: annotation for name, (annotation, _) in parameters.items()}
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name=tool.name, help=tool.description or tool.summary, short_help=tool.summary)(described)
    return app


def options_of(tool: Tool) -> list[Option]:
    """The tool's arguments; one whose name the command itself uses is called --arg-NAME."""
    properties: Mapping[str, Any] = tool.arguments.get("properties", {})
    taken = _RESERVED | {symbol for symbol in tool.consumes if symbol != IMAGE}
    return [
        Option(
            name,
            f"--{'arg-' if name in taken else ''}{name.replace('_', '-')}",
            shape_of(schema, tool.arguments),
            _help(schema, required=name in tool.arguments.get("required", ())),
        )
        for name, schema in properties.items()
    ]


def _help(schema: Mapping[str, Any], *, required: bool) -> str:
    text = str(schema.get("description", "")).strip()
    if required:
        return f"{text} [required]".strip()
    default = schema.get("default")
    return text if default in (None, "") else f"{text} [default: {json.dumps(default)}]".strip()


def _input(symbol: str) -> Any:
    what = "A path, - for standard input, a handle (img_...) or a URL"
    if symbol == IMAGE:
        return Annotated[str, typer.Argument(metavar="PICTURE", help=f"The picture: {what[0].lower()}{what[1:]}.")]
    flag, noun = f"--{symbol.replace('_', '-')}", symbol.replace("_", " ")
    white = ", white inside" if "mask" in symbol else ""
    return Annotated[
        str, typer.Option(flag, metavar="PICTURE", help=f"The {noun}{white}. {what}.", rich_help_panel=ARGUMENTS)
    ]


def _call(tool: Tool, options: list[Option], given: Mapping[str, Any]) -> ToolCall:
    chosen = {name: given[name] for name in _OWN}
    arguments = _object(chosen.pop("args"))
    for option in options:
        if (typed := given[f"argument_{option.name}"]) not in (None, []):
            arguments[option.name] = option.read(typed)
    missing = [option.flag for option in options if option.name in _required(tool) and option.name not in arguments]
    if missing:
        raise UsageError(f"{tool.name} needs {' and '.join(missing)}; `call {tool.name} --help` explains.")
    return ToolCall(tool, {symbol: given[f"input_{symbol}"] for symbol in tool.consumes}, arguments, chosen)


def _required(tool: Tool) -> frozenset[str]:
    return frozenset(tool.arguments.get("required", ()))


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--args: this is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError('--args: write a JSON object, for example {"caption": "girl . cart"}.')
    return value
