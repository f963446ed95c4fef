"""Writes docs/cli.md from the commands themselves: `python -m deploy.cli.docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from deploy.cli.call import call_tool
from deploy.cli.chat import chat
from deploy.cli.images import app as images_app
from deploy.cli.jobs import app as jobs_app
from deploy.cli.listing import ListsByItself
from deploy.cli.mcp import mcp
from deploy.cli.outcome import EXIT_STATUSES
from deploy.cli.sessions import app as sessions_app
from deploy.cli.tool_command import tool_command
from deploy.cli.tools import tools
from llava_plus import Tool

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"
HEAD = """# Command line

The commands that talk to a running platform. This page is written by `python -m deploy.cli.docs` from the commands
themselves; `llava-plus COMMAND --help` says the same.

They find the platform that `llava-plus up` started on this machine; `--url` or `LLAVA_PLUS_URL` names another one, and
`LLAVA_PLUS_API_KEY` holds the key where one is needed. `llava-plus --install-completion` makes the shell complete
commands, options, and the names of tools, sessions and jobs. With `--json` standard output holds one JSON text and
nothing else, the platform's errors included (`{"error": {"message", "code", "param", "request_id", ...}}`); a spinner,
notes and error lines are on standard error, where alone a mistake in the command line (status 2) is told.
`LLAVA_PLUS_PICTURES` chooses how pictures are shown: `kitty`, `iterm2`, `sixel`, `blocks` or `none`.
"""
GRAMMAR = """The options after the picture are the tool's own arguments, made from the schema that the platform serves,
so that every tool is there. Numbers in a list are separated by commas, lists in a list by semicolons; an option that
is given again adds one more item: `--boxes 0.1,0.1,0.5,0.5 --boxes 0.2,0.2,0.9,0.9` are two boxes,
`--points "0.5,0.5;0.1,0.1"` are two points on one thing. Anything may be written as JSON:
`--boxes "[[0.1,0.1,0.5,0.5]]"`, or all arguments at once with `--args`.
"""
_EVERYWHERE = ("--help", "--url")


def page() -> str:
    """The whole page."""
    statuses = ["| status | meaning |", "|---|---|", *(f"| {code} | {said} |" for code, said in EXIT_STATUSES.items())]
    any_tool = tool_command(Tool(name="TOOL", consumes=["image"]), call_tool)
    parts = [
        HEAD,
        "## Exit statuses\n",
        "\n".join(statuses) + "\n",
        *_command("chat", typer.main.get_command(_alone(chat))),
        "## `llava-plus call`\n",
        "Call one tool, without the planner. `llava-plus tools` lists them.\n",
        GRAMMAR,
        *_command("call TOOL", typer.main.get_command(any_tool), level=3, told=False),
        *_command("tools", typer.main.get_command(_alone(tools))),
    ]
    for name, app in (("sessions", sessions_app), ("images", images_app), ("jobs", jobs_app)):
        group: Any = typer.main.get_command(app)
        by_itself = f"\nWithout a command it lists: `llava-plus {name} --json` is `llava-plus {name} list --json`."
        parts += [f"## `llava-plus {name}`\n", f"{group.help}{by_itself if isinstance(group, ListsByItself) else ''}\n"]
        for subcommand, command in group.commands.items():
            parts += _command(f"{name} {subcommand}", command, level=3)
    parts += _command("mcp", typer.main.get_command(_alone(mcp)))
    return "\n".join(parts)


def _alone(function: Any) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return app


def _command(name: str, command: Any, *, level: int = 2, told: bool = True) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(_usage(command, context))
    yield f"{'#' * level} `llava-plus {name}`\n"
    if told and command.help:
        yield f"{_lines(command.help)}\n"
    yield f"```\nllava-plus {name} {usage}\n```\n"
    records = [record for param in command.get_params(context) if (record := param.get_help_record(context))]
    rows = [f"| `{_cell(option)}` | {_cell(said)} |" for option, said in records if not option.startswith(_EVERYWHERE)]
    yield "\n".join(["| | |", "|---|---|", *rows]) + "\n"


def _usage(command: Any, context: Any) -> Sequence[str]:
    return [re.sub(r"[{}]", "", piece) for piece in command.collect_usage_pieces(context)]


def _lines(text: str) -> str:
    return re.sub(r"[ \t]*\n[ \t]*", "\n", text.strip())


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r" <(str|list\[str\]|int range)>", "", text)).replace("|", "\\|").strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stderr.write(f"{PAGE}\n")
