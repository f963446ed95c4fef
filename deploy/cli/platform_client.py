"""The options by which commands find the platform, and the client they talk to it with."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deploy.errors import UsageError
from deploy.settings import DeploySettings
from deploy.state_dir import StateDir
from llava_plus import NO_RETRIES, Client, Retries
from llava_plus.connection import DEFAULT_TIMEOUT_S

COMPLETION_TIMEOUT_S = 1.0

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Where the platform runs; LLAVA_PLUS_URL, or what `llava-plus up` started here, when absent.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, and nothing else.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Longest wait.", show_default=False)
]


def connect(url: str | None, timeout_s: float | None = None) -> Client:
    """A client of the platform at `url`, or of the one that runs here; the key is in LLAVA_PLUS_API_KEY.

    Raises:
        UsageError: that is no address.
    """
    return _client(url, DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s, Retries())


def connect_briefly(url: str | None) -> Client:
    """The same for shell completion, which nobody wants to wait for."""
    return _client(url, COMPLETION_TIMEOUT_S, NO_RETRIES)


def chosen_address(url: str | None) -> str:
    """The option's address, or the one that stands in for it."""
    return url or os.environ.get("LLAVA_PLUS_URL") or running_address()


def running_address() -> str:
    """Where `llava-plus up` listens, or would."""
    settings = DeploySettings()
    state = StateDir(settings.state_dir.expanduser().resolve())
    run = state.read()
    if run is not None and state.locked():
        return run.address
    return f"http://{settings.host}:{settings.port}"


def _client(url: str | None, timeout_s: float, retries: Retries) -> Client:
    try:
        return Client(chosen_address(url), timeout_s=timeout_s, retries=retries)
    except ValueError as error:
        raise UsageError(str(error)) from None
