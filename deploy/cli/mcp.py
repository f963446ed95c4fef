"""`llava-plus mcp`: the platform's tools for an assistant that starts its MCP servers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.platform_client import Url, chosen_address
from deploy.errors import UsageError
from llava_plus.connection import DEFAULT_TIMEOUT_S, http_options


def mcp(
    url: Url = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Let assistants upload pictures from this folder (repeatable); from no file without it.",
        ),
    ] = None,
) -> None:
    """Offer the platform's tools to an assistant (MCP over standard input and output)."""
    try:
        options = http_options(chosen_address(url), None, DEFAULT_TIMEOUT_S)
    except ValueError as error:
        raise UsageError(str(error)) from None
    import anyio

    from deploy.cli.mcp_forwarding import Platform, serve

    folders = [folder.resolve() for folder in pictures or ()]
    anyio.run(serve, Platform(options), folders)
