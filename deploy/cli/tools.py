"""`llava-plus tools`: what the platform offers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from deploy.cli.call import unknown_tool
from deploy.cli.outcome import ending
from deploy.cli.platform_client import AsJson, Url, connect, connect_briefly
from deploy.cli.results import clean
from deploy.cli.tool_command import options_of
from deploy.errors import DeployError
from llava_plus import Readiness, Tool

_PLANNER = {
    "learned": "was trained to use it",
    "described": "is told of it",
    "none": "does not know it: call it yourself",
}


def complete_tool(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Tools for the shell, with what they are for; none where the platform does not answer at once."""
    try:
        with connect_briefly(ctx.params.get("url")) as client, ending():
            return [(tool.name, tool.summary) for tool in client.tools() if tool.name.startswith(incomplete)]
    except DeployError:
        return []


def tools(
    name: Annotated[
        str | None, typer.Argument(help="Show this one's arguments and result.", autocompletion=complete_tool)
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the tools that the platform offers, or describe one."""
    with ending(as_json=as_json), connect(url) as client:
        known = client.tools()
        ready = client.readiness()
    if name is None:
        if as_json:
            typer.echo(json.dumps([tool.model_dump(mode="json") for tool in known], ensure_ascii=False))
            return
        for line in _list(known, ready):
            typer.echo(line)
        return
    tool = next((one for one in known if name == one.name or name in one.aliases), None)
    if tool is None:
        raise unknown_tool(name, known)
    if as_json:
        typer.echo(json.dumps(tool.model_dump(mode="json"), ensure_ascii=False))
        return
    for line in _description(tool):
        typer.echo(line)


def _list(tools: list[Tool], ready: Readiness) -> Iterator[str]:
    width = max((len(tool.name) for tool in tools), default=0)
    for tool in tools:
        notes = [] if ready.skills.get(tool.name, True) else ["not ready"]
        notes += ["not in chats"] if tool.planner == "none" else []
        note = f"  [{', '.join(notes)}]" if notes else ""
        yield f"{tool.name:<{width}}  {clean(tool.summary)}{note}"


def _description(tool: Tool) -> Iterator[str]:
    also = f"  (also: {', '.join(tool.aliases)})" if tool.aliases else ""
    yield f"{tool.name}{also}"
    yield ""
    yield clean(tool.description or tool.summary)
    yield ""
    yield f"works on:  {', '.join(symbol.replace('_', ' ') for symbol in tool.consumes) or 'nothing but its arguments'}"
    yield f"planner:   {_PLANNER.get(tool.planner, tool.planner)}"
    if tool.parts:
        yield f"runs:      {', '.join(tool.parts)}"
    options = options_of(tool)
    if options:
        yield "arguments:"
    width = max((len(f"{option.flag} {option.shape.metavar}") for option in options), default=0)
    for option in options:
        yield f"  {f'{option.flag} {option.shape.metavar}':<{width}}  {clean(option.help)}".rstrip()
    fields: dict[str, Any] = tool.result.get("properties", {})
    if fields:
        yield f"result:    {', '.join(fields)}"
