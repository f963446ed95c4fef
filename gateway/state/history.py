"""Keeps a session's history bounded without losing sight of its pictures."""

from __future__ import annotations

from gateway.state.models import Session
from planner.conversation import last_exchanges


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
