"""Keeps a session's history bounded without losing sight of its pictures."""

from __future__ import annotations

from collections.abc import Collection

from gateway.state.models import Session
from planner.conversation import Turn, UserTurn, last_exchanges


def trimmed(session: Session, turns_max: int, images_max: int) -> Session:
    """The session with its last `turns_max` questions, what followed them, and its newest `images_max` pictures."""
    return session.model_copy(
        update={
            "conversation": last_exchanges(session.conversation, turns_max),
            "turns": session.turns[-turns_max:],
            "images": session.images[-images_max:],
            "pictures": [picture for picture in session.pictures if picture.handle in session.images[-images_max:]],
        }
    )


def without_pictures(session: Session, gone: Collection[str]) -> Session:
    """The session as far as its pictures are still there; the planner is told of those that are not."""
    if not gone:
        return session
    return session.model_copy(
        update={
            "conversation": tuple(_without(turn, gone) for turn in session.conversation),
            "images": [handle for handle in session.images if handle not in gone],
            "pictures": [picture for picture in session.pictures if picture.handle not in gone],
            "symbols": {symbol: handle for symbol, handle in session.symbols.items() if handle not in gone},
        }
    )


def _without(turn: Turn, gone: Collection[str]) -> Turn:
    lost = [handle for handle in turn.images if handle in gone] if isinstance(turn, UserTurn) else []
    if not lost:
        return turn
    assert isinstance(turn, UserTurn)
    what = "1 picture of this message is" if len(lost) == 1 else f"{len(lost)} pictures of this message are"
    left = tuple(handle for handle in turn.images if handle not in gone)
    return turn.model_copy(update={"text": f"{turn.text}\n({what} no longer kept.)", "images": left})
