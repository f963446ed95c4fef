"""`llava-plus index`: build retrieval indexes, add to them, search them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deploy.command import typed
from deploy.errors import UsageError
from services.core.errors import SkillFailed
from services.retrieval.entries import Entries
from services.retrieval.errors import RetrievalError
from services.retrieval.manifest import Manifest

if TYPE_CHECKING:
    from PIL import Image

    from services.retrieval.builder import Report, Stage
    from services.retrieval.encoder import ClipEncoder

DEFAULT_CHECKPOINT = "openai/clip-vit-large-patch14"
LINE_EVERY_S = 5.0
UNREADABLE_SHOWN = 5

app = typer.Typer(no_args_is_help=True, help="Build and search the indexes of clip_retrieval.")

Source = Annotated[
    Path,
    typer.Argument(
        help='A .jsonl file with {"image": "1.jpg", "caption": "a boat"} a line (also "match": the text to be found '
        'by, "source", "url"; without "image" the text is indexed), a .txt file with a caption a line, or a folder of '
        "pictures with a captions.jsonl or a .txt beside each."
    ),
]
Folder = Annotated[Path, typer.Argument(help="The index.")]
Device = Annotated[str, typer.Option(help="torch device, for example cpu or cuda:0.")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
BatchSize = Annotated[int, typer.Option(min=1, max=4096, help="Entries embedded, and made safe on disk, at once.")]
OtherCheckpoint = Annotated[str | None, typer.Option(help="The CLIP, where the name in the manifest no longer fits.")]


@app.command()
def build(
    source: Source,
    folder: Folder,
    checkpoint: Annotated[str, typer.Option(help="A CLIP: hub id, folder, or embedded:clip.")] = DEFAULT_CHECKPOINT,
    device: Device = "cpu",
    dtype: Precision = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Make an index. When it was cut, run the same command again: it goes on where it was."""
    with _mendable():
        manifest = Manifest.read(folder)
        if manifest is not None and manifest.state == "ready":
            raise UsageError(f"{folder} is a finished index: add to it with `{typed('index add')}`, or name another.")
        _report(_run(source, folder, checkpoint, device, dtype, batch_size), folder)


@app.command()
def add(
    source: Source,
    folder: Folder,
    checkpoint: OtherCheckpoint = None,
    device: Device = "cpu",
    dtype: Precision = "float32",
    batch_size: BatchSize = 64,
) -> None:
    """Add entries to an index; those that it holds already are passed over."""
    with _mendable():
        _report(_run(source, folder, checkpoint or _manifest(folder).checkpoint, device, dtype, batch_size), folder)


@app.command()
def search(
    folder: Folder,
    text: Annotated[str | None, typer.Option(help="Search for a text.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Search for a picture.", exists=True, dir_okay=False)] = None,
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="How many results.")] = 5,
    checkpoint: OtherCheckpoint = None,
    device: Device = "cpu",
    dtype: Precision = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the entries nearest to a text or a picture."""
    from services.retrieval.index import RetrievalIndex

    if (text is None) == (picture is None):
        raise UsageError("Give one of --text and --picture.")
    if text is not None and not text.strip():
        raise UsageError("The text to search for is empty.")
    looked_for = None if picture is None else _decoded(picture)
    with _mendable():
        encoder = _encoder(checkpoint or _manifest(folder).checkpoint, device, dtype)
        index = RetrievalIndex(folder, encoder.fingerprint)
        query = encoder.encode_texts([text or ""]) if looked_for is None else encoder.encode_pictures([looked_for])
        (hits,) = index.search(query, [top_k])
    for hit in hits:
        plain = f"{hit.similarity:6.3f}  {hit.caption}" + (f"  ({hit.source})" if hit.source else "")
        typer.echo(json.dumps(asdict(hit), ensure_ascii=False) if as_json else plain)


def _run(source: Path, folder: Path, checkpoint: str, device: str, dtype: str, batch_size: int) -> Report:
    from services.retrieval.builder import IndexBuilder

    entries = Entries(source)
    total = len(entries)
    encoder = _encoder(checkpoint, device, dtype)
    with _shown() as watcher:
        return IndexBuilder(folder, encoder, checkpoint, batch_size, watcher).run(entries, total)


def _encoder(checkpoint: str, device: str, dtype: str) -> ClipEncoder:
    from services.retrieval.encoder import ClipEncoder
    from services.skills.clip_retrieval import ClipRetrieval

    try:
        # The skill knows how a CLIP is put on a device; its index is not opened.
        skill = ClipRetrieval(checkpoint, device, dtype=dtype)
    except ValidationError as error:
        raise UsageError(f"--dtype {dtype}: {error.errors()[0]['msg']}.") from None
    try:
        return ClipEncoder(skill.source, skill.place, skill.pixels)
    except (OSError, RuntimeError) as error:  # files; the device
        why = str(error).splitlines()[0]
        raise UsageError(f"The checkpoint {checkpoint} cannot be loaded on {device}: {why}") from None


def _manifest(folder: Path) -> Manifest:
    manifest = Manifest.read(folder)
    if manifest is None:
        raise UsageError(f"{folder} is no index: make one with `{typed('index build')}`.")
    return manifest


def _decoded(picture: Path) -> Image.Image:
    from PIL.Image import DecompressionBombError

    from services.core.images import decode

    try:
        return decode(picture.read_bytes())
    except (OSError, ValueError, SyntaxError, DecompressionBombError):
        raise UsageError(f"{picture} cannot be read as a picture.") from None


@contextmanager
def _mendable() -> Iterator[None]:
    """What the person can mend ends the command in one line."""
    try:
        yield
    except (RetrievalError, SkillFailed) as error:
        raise UsageError(str(error)) from None
    except OSError as error:  # no right to write, a file where the folder should be, no space left
        raise UsageError(f"{error.filename or 'The index'}: {error.strerror or error}.") from None


@contextmanager
def _shown() -> Iterator[Callable[[Stage, int, int], None]]:
    """Progress: bars with the time left on a terminal, otherwise a line every few seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns: list[Any] = [
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def show(stage: Stage, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield show


class Lines:
    """Progress as lines of text on standard error.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._began = self._said = 0.0
        self._done_at_first = 0

    def __call__(self, stage: Stage, done: int, total: int) -> None:
        now = self._clock()
        if stage != self._stage:
            self._stage, self._began, self._said, self._done_at_first = stage, now, float("-inf"), done
        if now - self._said < LINE_EVERY_S and done < total:
            return
        self._said = now
        rate = (done - self._done_at_first) / (now - self._began) if now > self._began else 0.0
        left = f", {(total - done) / rate:.0f} s left" if rate > 0 and done < total else ""
        print(f"{stage:<10} {done}/{total}{left}", file=sys.stderr, flush=True)


def _report(report: Report, folder: Path) -> None:
    for problem in report.unreadable[:UNREADABLE_SHOWN]:
        typer.echo(f"left out: {problem}", err=True)
    if (more := len(report.unreadable) - UNREADABLE_SHOWN) > 0:
        typer.echo(f"left out: {more} more", err=True)
    known = f", {report.known} were there already" if report.known else ""
    typer.echo(f"{folder}: {report.added} entries added{known}; it holds {report.total}.")
