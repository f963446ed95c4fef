"""`llava-plus call TOOL`: one skill, without the planner."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from deploy.cli.interrupts import interruptible
from deploy.cli.outcome import ending
from deploy.cli.picture_files import given_picture, save_masks, save_pictures, write_all
from deploy.cli.platform_client import Url, connect, connect_briefly
from deploy.cli.results import result_lines
from deploy.cli.terminal_pictures import Form, detect, show
from deploy.cli.tool_command import IMAGE, ToolCall, options_of, tool_command
from deploy.cli.waiting import waiting
from deploy.errors import DeployError, UsageError
from llava_plus import ApiError, Client, Job, Tool, ToolResult


class ToolCommands(TyperGroup):
    """The tools that the platform offers, each a command; the platform is asked once."""

    def list_commands(self, ctx: Any) -> list[str]:
        # For help and completion, which are there without a platform too.
        return sorted(_tools(ctx, quietly=True))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        tools = _tools(ctx, quietly=ctx.resilient_parsing)
        tool = tools.get(cmd_name) or next((one for one in tools.values() if cmd_name in one.aliases), None)
        if tool is not None:
            return typer.main.get_command(tool_command(tool, partial(call_tool, url=ctx.params.get("url"))))
        if ctx.resilient_parsing or cmd_name.startswith("-"):
            return None
        raise unknown_tool(cmd_name, tools.values())

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # A tool's own --url says which platform's tool it is.
        for index, arg in enumerate(args):
            if arg.startswith("--url="):
                ctx.params["url"] = arg.removeprefix("--url=")
            elif arg == "--url" and index + 1 < len(args):
                ctx.params["url"] = args[index + 1]
        return super().resolve_command(ctx, args)


def unknown_tool(name: str, tools: Iterable[Tool]) -> UsageError:
    """Says what there is, or what was meant."""
    names = sorted(tool.name for tool in tools)
    meant = get_close_matches(name, names, n=1)
    hint = f"Did you mean {meant[0]}?" if meant else f"There are: {', '.join(names)}."
    return UsageError(f"No tool is called {name!r}. {hint}")


app = typer.Typer(
    cls=ToolCommands,
    no_args_is_help=True,
    subcommand_metavar="TOOL [PICTURE] [OPTIONS]...",
    help="Call one tool, without the planner. `llava-plus call TOOL --help` shows its options.",
)


@app.callback()
def call(url: Url = None) -> None:
    """Call one tool, without the planner. `llava-plus call TOOL --help` shows its options."""


def call_tool(call: ToolCall, url: str | None = None) -> None:
    """Run it, show what it found, and write the files that were asked for; or leave it to a job.

    Args:
        url: of the platform, where the call itself names none.
    """
    chosen = call.chosen
    with ending(as_json=chosen["as_json"]), connect(chosen["url"] or url, chosen["timeout"]) as client:
        if chosen["job"]:
            job = _submitted(client, call)
            typer.echo(json.dumps(job.model_dump(mode="json")) if chosen["as_json"] else job.id)
            return
        with waiting(call.tool.name):
            found = _called(client, call)
        show_result(client, found, chosen["output"], chosen["overlay"], as_json=chosen["as_json"])


@interruptible()
def show_result(
    client: Client, found: ToolResult, output: Path | None, overlay: Path | None = None, *, as_json: bool
) -> None:
    """Write the files that were asked for, and what was found.

    Args:
        output, overlay: see the options of `call`.
    """
    saved = _saved(client, found, output)
    if overlay is not None:
        saved += _drawn(client, found, overlay)
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json") | {"files": [str(path) for path in saved]}))
        return
    for line in result_lines(found):
        typer.echo(line)
    _show_pictures(client, found, saved)


def _called(client: Client, call: ToolCall) -> ToolResult:
    image, inputs = _pictures(call)
    drawn, use_cache = call.chosen["overlay"] is not None, not call.chosen["fresh"]
    with _told_by_options(call):
        return client.call(call.tool.name, image, inputs=inputs, overlay=drawn, use_cache=use_cache, **call.arguments)


def _submitted(client: Client, call: ToolCall) -> Job:
    image, inputs = _pictures(call)
    with _told_by_options(call):
        return client.submit(call.tool.name, image, inputs=inputs, use_cache=not call.chosen["fresh"], **call.arguments)


def _pictures(call: ToolCall) -> tuple[str | bytes | None, dict[str, str | bytes]]:
    """The picture, and what else the tool takes."""
    given = {symbol: given_picture(text) for symbol, text in call.inputs.items()}
    return given.pop(IMAGE, None), given


@contextmanager
def _told_by_options(call: ToolCall) -> Iterator[None]:
    """An argument that the platform refuses is told by the option that was typed."""
    try:
        yield
    except ApiError as error:
        for option in options_of(call.tool):
            if error.param is not None and error.param.split(".")[:2] == ["arguments", option.name]:
                error.args = (error.message.replace(f"arguments.{option.name}", option.flag, 1),)
        raise


def _saved(client: Client, found: ToolResult, output: Path | None) -> list[Path]:
    if output is None:
        return []
    if found.pictures:
        return save_pictures(client, list(found.pictures.values()), output)
    return save_masks(found.masks_rle, output)


def _drawn(client: Client, found: ToolResult, target: Path) -> list[Path]:
    if found.render is None:
        raise UsageError(f"--overlay: {found.tool} found no boxes, masks or map in a picture; nothing is drawn.")
    return write_all([("overlay.png", client.image_bytes(found.render.id))], target)


def _show_pictures(client: Client, found: ToolResult, saved: list[Path]) -> None:
    """Pictures that it made: in the terminal where that can, and where they are."""
    console = Console()
    form = detect(console) if found.pictures else Form.NONE
    for name, handle in found.pictures.items():
        show(client.image(handle), form, console)
        where = "" if saved else "  (-o FILE saves it)"
        typer.echo(f"{name.replace('_', ' ')}: {handle}{where}")
    for path in saved:
        typer.echo(f"saved: {path}")


def _tools(ctx: Any, *, quietly: bool) -> dict[str, Tool]:
    """The platform's tools by name; `quietly`: none where it does not answer at once."""
    if ctx.obj is None:
        url = ctx.params.get("url")
        try:
            with connect_briefly(url) if quietly else connect(url) as client, ending():
                ctx.obj = {tool.name: tool for tool in client.tools()}
        except DeployError:
            if not quietly:
                raise
            return {}
    known: dict[str, Tool] = ctx.obj
    return known
