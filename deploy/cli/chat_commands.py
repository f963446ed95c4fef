"""The commands of an interactive chat: lines that begin with a slash."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.cli.chat_question import Enclosed, existing
from deploy.cli.picture_files import save_pictures, write_all
from deploy.errors import UsageError

if TYPE_CHECKING:
    from deploy.cli.chat_talk import Talk


class Quit(Exception):
    """The person wants to go."""


@dataclass(slots=True)
class Desk:
    """What commands work on: the talk, and what goes with its next question."""

    talk: Talk
    enclosed: Enclosed = field(default_factory=Enclosed)


@dataclass(frozen=True, slots=True)
class Command:
    """What it takes (counts of words), what it does, and how that is told."""

    usage: str
    help: str
    words: range
    run: Callable[[Desk, Sequence[str]], Iterator[str]]


def run_command(line: str, desk: Desk) -> Iterator[str]:
    """Do what the line says; lines for the person.

    Raises:
        UsageError: there is no such command, or it is typed wrongly.
        Quit: the chat is over.
    """
    try:
        name, *words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line}: {error}.") from None
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"There is no {name}; /help lists the commands.")
    if len(words) not in command.words:
        raise UsageError(f"Type it like {command.usage}")
    return command.run(desk, words)


def _help(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    width = max(len(command.usage) for command in COMMANDS.values())
    for command in COMMANDS.values():
        yield f"{command.usage:<{width}}  {command.help}"


def _image(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    for word in words:
        desk.enclosed.add_picture(word)
    yield from _enclosed(desk)


def _point(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    desk.enclosed.add_point(" ".join(words))
    yield from _enclosed(desk)


def _box(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    desk.enclosed.add_box(" ".join(words))
    yield from _enclosed(desk)


def _mask(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    desk.enclosed.mask = existing(words[0])
    yield from _enclosed(desk)


def _reference(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    desk.enclosed.reference = existing(words[0]), existing(words[1])
    yield from _enclosed(desk)


def _clear(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    desk.enclosed = Enclosed()
    yield "Nothing goes with the next question."


def _save(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    if not desk.talk.produced:
        raise UsageError("No picture has been made in this chat yet.")
    target = Path(words[0]).expanduser() if words else None
    chosen = desk.talk.produced if target is None or not target.suffix else desk.talk.produced[-1:]
    for path in save_pictures(desk.talk.client, chosen, target):
        yield f"saved: {path}"


def _overlay(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    data = desk.talk.overlay()
    if words:
        (path,) = write_all([("overlay.png", data)], Path(words[0]).expanduser())
        yield f"saved: {path}"
    elif not desk.talk.show_bytes(data):
        (path,) = write_all([("overlay.png", data)], None)
        yield f"saved: {path}"


def _debug(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    desk.talk.debug = not desk.talk.debug
    yield "Plans are shown." if desk.talk.debug else "Plans are hidden."


def _new(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    desk.talk.begin(None)
    desk.enclosed = Enclosed()
    yield "A new conversation."


def _session(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    if words:
        desk.talk.begin(desk.talk.client.session(words[0]).id)
    yield desk.talk.session or "It begins with the first answer."


def _quit(desk: Desk, words: Sequence[str]) -> Iterator[str]:
    raise Quit


def _enclosed(desk: Desk) -> Iterator[str]:
    yield f"With the next question: {desk.enclosed.words()}."


_MANY = range(1, 1000)
COMMANDS: Mapping[str, Command] = {
    "/image": Command("/image PICTURE...", "send pictures with the next question: paths, handles, URLs", _MANY, _image),
    "/box": Command("/box X0,Y0,X1,Y1", "mark a box in the current picture (0 to 1 of its size)", range(1, 5), _box),
    "/point": Command("/point X,Y[,0]", "mark a point on an object, or with 0 one beside it", range(1, 4), _point),
    "/mask": Command("/mask PICTURE", "mark an area: a picture that is white inside", range(1, 2), _mask),
    "/reference": Command("/reference PICTURE MASK", "mark what is meant in another picture", range(2, 3), _reference),
    "/clear": Command("/clear", "take back what goes with the next question", range(1), _clear),
    "/save": Command(
        "/save [PATH]", "save the pictures made in this chat: to a folder, or the last one to a file", range(2), _save
    ),
    "/overlay": Command(
        "/overlay [FILE]", "show, or save, what was found in the picture drawn over it", range(2), _overlay
    ),
    "/debug": Command("/debug", "show or hide the plans behind the answers", range(1), _debug),
    "/new": Command("/new", "begin a new conversation", range(1), _new),
    "/session": Command(
        "/session [SESSION]", "say this conversation's id, or go on with another one", range(2), _session
    ),
    "/help": Command("/help", "list the commands", range(1), _help),
    "/quit": Command("/quit", "end the chat; Ctrl-D does too", range(1), _quit),
}
