"""`llava-plus sessions`: past conversations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from deploy.cli.ages import age
from deploy.cli.listing import ListsByItself
from deploy.cli.outcome import ending
from deploy.cli.platform_client import AsJson, Timeout, Url, connect, connect_briefly
from deploy.cli.results import clean
from deploy.cli.steps import step_lines
from deploy.cli.waiting import waiting
from deploy.errors import DeployError, UsageError
from llava_plus import Client, Session, SessionSummary

LAST = "last"

app = typer.Typer(cls=ListsByItself, help="List, read, forget and replay past conversations.")


def complete_session(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Session ids for the shell, with their first question; none where the platform does not answer at once."""
    try:
        with connect_briefly(ctx.params.get("url")) as client, ending():
            page = client.sessions(100).data
    except DeployError:
        return []
    return [(one.id, clean(one.title)) for one in page if one.id.startswith(incomplete)]


SessionId = Annotated[
    str, typer.Argument(metavar="SESSION", help="Its id, or `last`.", autocompletion=complete_session)
]


@app.command("list")
def list_sessions(
    limit: Annotated[int, typer.Option(min=1, help="How many, the last used first.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show the conversations that are kept, the last used first."""
    with ending(as_json=as_json), connect(url) as client:
        found = list(_pages(client, limit))
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], ensure_ascii=False))
        return
    for one in found:
        typer.echo(f"{one.id}  {age(one.last_used):>7}  {one.turns:>3} turns  {clean(one.title)}")
    if not found:
        typer.echo("No conversation is kept.", err=True)


@app.command()
def show(
    session: SessionId,
    debug: Annotated[bool, typer.Option("--debug", help="Show the steps too.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show a conversation."""
    with ending(as_json=as_json), connect(url) as client:
        found = client.session(session_id(client, session), debug=debug)
    _print(found, as_json)


@app.command()
def delete(
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION", help="Ids.", autocompletion=complete_session)],
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Forget conversations."""
    deleted: list[str] = []
    with ending(as_json=as_json), connect(url) as client:
        for session in sessions:
            client.delete_session(session)
            deleted.append(session)
            if not as_json:
                typer.echo(f"forgotten: {session}")
    if as_json:
        typer.echo(json.dumps({"deleted": deleted}))


@app.command()
def replay(
    session: SessionId,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run calls again whose results are kept.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the steps too.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Ask the questions of a conversation again, in a new one, and say which answers changed."""
    with ending(as_json=as_json), connect(url, timeout) as client, waiting("replaying"):
        found = client.replay_session(session_id(client, session), debug=debug, use_cache=not fresh)
    _print(found, as_json)
    if not as_json:
        same = sum(found.same_answers)
        typer.echo(f"{same} of {len(found.same_answers)} answers are the same as in {found.replay_of}.")


def _pages(client: Client, limit: int) -> Iterator[SessionSummary]:
    after: str | None = None
    while limit > 0:
        page = client.sessions(min(limit, 100), after)
        yield from page.data
        limit -= len(page.data)
        if not page.has_more or not page.data:
            return
        after = page.data[-1].id


def session_id(client: Client, session: str) -> str:
    """The id that is meant: `last` is the conversation that was used last.

    Raises:
        UsageError: there is none.
    """
    if session != LAST:
        return session
    newest = client.sessions(1).data
    if not newest:
        raise UsageError("No conversation is kept: there is no last one.")
    return newest[0].id


def _print(session: Session, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(session.model_dump(mode="json"), ensure_ascii=False))
        return
    typer.echo(session.id)
    for turn in session.turns:
        typer.echo(f"\n> {clean(turn.question)}")
        for name, handles in (("picture", turn.images), ("made", turn.produced_images)):
            for handle in handles:
                typer.echo(f"  {name}: {handle}")
        for step in turn.steps or ():
            for line in step_lines(step):
                typer.echo(line)
        typer.echo(clean(turn.answer))
