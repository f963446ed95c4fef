"""A conversation at a terminal: asks, shows the answer as it is written, and the pictures that were made."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from PIL import Image
from rich.console import Console

from deploy.cli.interrupts import interruptible
from deploy.cli.picture_files import save_pictures
from deploy.cli.results import clean
from deploy.cli.steps import step_lines
from deploy.cli.terminal_pictures import Form, detect, show
from deploy.cli.waiting import waiting
from deploy.errors import UsageError
from llava_plus import Answer, Client, Delta, Progress
from llava_plus.chat import Options


class Talk:
    """One after the other, conversations with the platform.

    Attributes:
        debug: show the plan behind an answer.
        produced: handles of the pictures made in the current conversation.
        files: what has been saved.

    Args:
        output: where pictures that skills make are saved; when None, those that the terminal cannot show are saved in
            the current folder.
    """

    def __init__(self, client: Client, session: str | None, *, debug: bool = False, output: Path | None = None) -> None:
        self.client = client
        self.debug = debug
        self.produced: list[str] = []
        self.files: list[Path] = []
        self._output = output
        self._console = Console()
        self._form: Form | None = None
        self._conversation = client.conversation(session)

    @property
    def session(self) -> str | None:
        return self._conversation.id

    def begin(self, session: str | None) -> None:
        """Another conversation, or a new one."""
        self._conversation = self.client.conversation(session)
        self.produced = []

    def say(self, text: str, pictures: Sequence[str | bytes], options: Options) -> Answer:
        """Ask, and show the answer as it comes."""
        # A person who waits is told which skills run, which only `debug` says.
        asked: Options = {**options, "debug": self.debug or sys.stderr.isatty()}
        written = ""
        with waiting("thinking") as shown, self._conversation.stream(text, *pictures, **asked) as stream:
            for event in stream:
                if isinstance(event, Progress):
                    shown.say(doing(event))
                elif isinstance(event, Delta):
                    shown.end()
                    piece = self._safe(event.text)
                    written += piece
                    typer.echo(piece, nl=False)
            answer = stream.answer
        assert answer is not None, "a stream without an answer raises"
        if written and not written.endswith("\n"):
            typer.echo()
        self._show_steps(answer)
        self._note(answer)
        return answer

    def ask(self, text: str, pictures: Sequence[str | bytes], options: Options) -> Answer:
        """Ask, and show nothing but that it takes time."""
        asked: Options = {**options, "debug": self.debug}
        with waiting("thinking"):
            answer = self._conversation.ask(text, *pictures, **asked)
        self._note(answer)
        return answer

    @interruptible()
    def show_produced(self, answer: Answer) -> None:
        """The pictures that skills made: saved where asked for, shown where the terminal can, saved otherwise."""
        if not answer.produced_images:
            return
        shown = [self.show_bytes(self.client.image_bytes(handle)) for handle in answer.produced_images]
        if self._output is not None or not all(shown):
            self.save(answer)

    def save(self, answer: Answer, *, quietly: bool = False) -> None:
        """Write the pictures that skills made to files."""
        for path in save_pictures(self.client, answer.produced_images, self._output):
            self.files.append(path)
            if not quietly:
                typer.echo(f"saved: {path}", err=True)

    def show_bytes(self, data: bytes) -> bool:
        """Whether the terminal can show the picture, which it then does."""
        if self._form is None:
            self._form = detect(self._console)
        with Image.open(io.BytesIO(data)) as picture:
            show(picture, self._form, self._console)
        return self._form is not Form.NONE

    def overlay(self) -> bytes:
        """The picture in which boxes, masks or a map were found last, with them drawn over it, PNG.

        Raises:
            UsageError: none were found.
        """
        turns = self.client.session(self.session, debug=True).turns if self.session is not None else []
        calls = [call for turn in turns for step in turn.steps or () for call in step.results]
        for call in reversed(calls):
            drawable = call.boxes or call.masks_rle or "image_seg" in call.pictures
            if drawable and "image" in call.images:
                return self.client.image_bytes(call.images["image"], "overlay", session=self.session)
        raise UsageError("Nothing that can be drawn has been found in this conversation yet.")

    def _note(self, answer: Answer) -> None:
        self.produced += [handle for handle in answer.produced_images if handle not in self.produced]

    def _safe(self, piece: str) -> str:
        """A terminal gets no control characters; a file gets the answer as it is."""
        return clean(piece) if self._console.is_terminal else piece

    def _show_steps(self, answer: Answer) -> None:
        for step in (answer.steps or ()) if self.debug else ():
            for line in step_lines(step):
                typer.secho(line, dim=True, err=True)


def doing(event: Progress) -> str:
    """What is going on, in a word or two."""
    return ", ".join(event.skills) if event.kind == "started" else "thinking"
