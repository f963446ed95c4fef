"""`llava-plus chat`: a conversation at the terminal, or one question."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.chat_commands import COMMANDS, Desk, Quit, run_command
from deploy.cli.chat_prompt import edited_lines
from deploy.cli.chat_question import Enclosed, existing
from deploy.cli.chat_talk import Talk
from deploy.cli.interrupts import interruptible
from deploy.cli.outcome import ending, line_of
from deploy.cli.platform_client import AsJson, Timeout, Url, connect
from deploy.cli.sessions import complete_session, session_id
from deploy.errors import DeployError, UsageError
from deploy.settings import DeploySettings
from llava_plus import LlavaPlusError

HISTORY = "chat_history"
PROMPT = "you> "
STDIN = "-"


def chat(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(metavar="PICTURE", help="Paths, handles (img_...) or URLs; - is standard input."),
    ] = None,
    message: Annotated[
        str | None,
        typer.Option("-m", "--message", metavar="TEXT", help="Ask this and end; - reads it from standard input."),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="SESSION",
            help="Go on with this conversation; `last` is the last one.",
            autocompletion=complete_session,
            show_default=False,
        ),
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option("--point", metavar="X,Y[,0]", help="Mark a point (0 to 1); with 0 one beside.")
    ] = None,
    box: Annotated[list[str] | None, typer.Option("--box", metavar="X0,Y0,X1,Y1", help="Mark a box (0 to 1).")] = None,
    mask: Annotated[
        str | None, typer.Option("--mask", metavar="PICTURE", help="Mark an area: white inside.", show_default=False)
    ] = None,
    reference: Annotated[
        tuple[str, str] | None,
        typer.Option("--reference", metavar="PICTURE MASK", help="What is meant, in another picture."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="Where pictures that skills make are saved."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the plan behind the answer.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Chat about pictures. With -m, or a question on standard input, ask once and end.

    Pictures that skills make are shown where the terminal can (kitty, iTerm2, sixel, coloured blocks; set
    LLAVA_PLUS_PICTURES to choose, or to `none`), and saved otherwise.
    """
    enclosed = _enclosed(pictures or (), point or (), box or (), mask, reference)
    question = _question(message, pictures or ())
    if question is None and as_json:
        raise UsageError("--json answers one question: give it with -m.")
    with ending(as_json=as_json), connect(url, timeout) as client:
        talk = Talk(client, session_id(client, session) if session else None, debug=debug, output=output)
        if question is None:
            _converse(Desk(talk, enclosed), client.base_url)
        elif as_json:
            answer = talk.ask(question, enclosed.pictures, enclosed.options())
            if output is not None:
                talk.save(answer, quietly=True)
            files = [str(path) for path in talk.files]
            typer.echo(json.dumps(answer.model_dump(mode="json") | {"files": files}, ensure_ascii=False))
        else:
            talk.show_produced(talk.say(question, enclosed.pictures, enclosed.options()))


def _question(message: str | None, pictures: Sequence[str]) -> str | None:
    """The one question to ask, or None for a conversation."""
    if message is not None and message != STDIN:
        return message
    if message is None and sys.stdin.isatty():
        return None
    if STDIN in pictures:
        raise UsageError("Standard input holds the picture: give the question with -m.")
    text = sys.stdin.read().strip()
    if not text:
        raise UsageError("Standard input holds no question: write one, or give it with -m.")
    return text


def _enclosed(
    pictures: Sequence[str],
    points: Sequence[str],
    boxes: Sequence[str],
    mask: str | None,
    reference: tuple[str, str] | None,
) -> Enclosed:
    enclosed = Enclosed()
    for picture in pictures:
        enclosed.add_picture(picture)
    for point in points:
        enclosed.add_point(point)
    for box in boxes:
        enclosed.add_box(box)
    enclosed.mask = existing(mask) if mask else None
    enclosed.reference = (existing(reference[0]), existing(reference[1])) if reference else None
    return enclosed


def _converse(desk: Desk, address: str) -> None:
    """Read lines until the person goes. What goes wrong with one question is told, and the next one asked."""
    ready = desk.talk.client.readiness()
    typer.echo(f"LLaVA-Plus at {address}. /help lists the commands, Ctrl-D ends.")
    if not ready.ready:
        typer.echo("It is not ready yet: answers may have to wait.", err=True)
    if desk.enclosed.words():
        typer.echo(f"With the next question: {desk.enclosed.words()}.")
    settings = DeploySettings()
    with edited_lines(settings.state_dir.expanduser() / HISTORY, list(COMMANDS)):
        while (line := _line()) is not None:
            try:
                _answer(line, desk)
            except Quit:
                return
            except KeyboardInterrupt:
                typer.echo("\nStopped.", err=True)
            except LlavaPlusError as error:
                typer.secho(line_of(error), fg="red", err=True)
            except DeployError as error:
                typer.secho(str(error), fg="red", err=True)


def _line() -> str | None:
    """The next line; None at the end of input. Ctrl-C drops what is typed."""
    while True:
        try:
            line = input(PROMPT).strip()
        except EOFError:
            typer.echo()
            return None
        except KeyboardInterrupt:
            typer.echo("\n(/quit or Ctrl-D ends)", err=True)
            continue
        if line:
            return line


@interruptible()
def _answer(line: str, desk: Desk) -> None:
    if line.startswith("/"):
        for told in run_command(line, desk):
            typer.echo(told)
        return
    answer = desk.talk.say(line, desk.enclosed.pictures, desk.enclosed.options())
    # Only now: after an error the same question may be asked again with what goes with it.
    desk.enclosed = Enclosed()
    desk.talk.show_produced(answer)
