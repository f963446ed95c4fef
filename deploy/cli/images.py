"""`llava-plus images`: stored pictures."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.cli.outcome import ending
from deploy.cli.picture_files import file_name, given_picture, write_all
from deploy.cli.platform_client import AsJson, Url, connect
from deploy.cli.terminal_pictures import detect
from deploy.cli.terminal_pictures import show as show_picture

app = typer.Typer(no_args_is_help=True, help="Upload, download and look at stored pictures.")

Handle = Annotated[str, typer.Argument(metavar="HANDLE", help="img_ and 40 hex digits.")]


class Variant(StrEnum):
    ORIGINAL = "original"
    THUMBNAIL = "thumbnail"
    OVERLAY = "overlay"


VariantOption = Annotated[
    Variant, typer.Option(help="overlay: with what a session's calls found in it, which takes --session.")
]
SessionOption = Annotated[str | None, typer.Option("--session", help="For --variant overlay.", show_default=False)]


@app.command()
def upload(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Pictures; - is standard input.")],
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Store pictures and print their handles."""
    with ending(as_json=as_json), connect(url) as client:
        stored = [client.upload(given_picture(file)) for file in files]
    if as_json:
        typer.echo(json.dumps([info.model_dump(mode="json") for info in stored]))
        return
    for info in stored:
        typer.echo(info.id)


@app.command()
def get(
    handle: Handle,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PATH", help="File or folder; the current one when absent.")
    ] = None,
    variant: VariantOption = Variant.ORIGINAL,
    session: SessionOption = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Write a stored picture to a file."""
    with ending(as_json=as_json), connect(url) as client:
        data = client.image_bytes(handle, variant.value, session=session)
        (path,) = write_all([(file_name(handle, data), data)], output)
    typer.echo(json.dumps({"file": str(path)}) if as_json else str(path))


@app.command()
def show(
    handle: Handle, variant: VariantOption = Variant.ORIGINAL, session: SessionOption = None, url: Url = None
) -> None:
    """Show a stored picture in the terminal."""
    console = Console()
    with ending(), connect(url) as client:
        picture = client.image(handle, variant.value, session=session)
    show_picture(picture, detect(console), console)
    typer.echo(f"{handle}  {picture.width} x {picture.height}")


@app.command()
def info(handle: Handle, as_json: AsJson = False, url: Url = None) -> None:
    """Say what is known about a stored picture: its size, how long it is kept, the call that made it."""
    with ending(as_json=as_json), connect(url) as client:
        found = client.image_info(handle)
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json")))
        return
    typer.echo(f"{found.id}  {found.width} x {found.height}  {found.media_type}  {found.bytes} bytes")
    typer.echo(f"kept for {found.ttl_s / 3600:.1f} h from its last use")
    if found.lineage:
        made = found.lineage
        typer.echo(f"made by {made.get('skill')} ({made.get('checkpoint')}) from {made.get('images') or 'nothing'}")
    else:
        typer.echo("uploaded")
