"""Keeps a session's history bounded without losing sight of its pictures."""

from __future__ import annotations

from gateway.state.models import Session
from planner.conversation import Conversation, UserTurn


def trimmed(session: Session, turns_max: int, images_max: int) -> Session:
    """The session with its last `turns_max` questions, what followed them, and its newest `images_max` pictures."""
    return session.model_copy(
        update={
            "conversation": trimmed_conversation(session.conversation, turns_max),
            "turns": session.turns[-turns_max:],
            "images": session.images[-images_max:],
        }
    )


def trimmed_conversation(conversation: Conversation, turns_max: int) -> Conversation:
    """The last `turns_max` questions and what followed them.

    When the first question that stays has no picture, it is given those of the last dropped one
    that had some: a person goes on asking about the same picture for longer than the history.
    """
    questions = [index for index, turn in enumerate(conversation) if isinstance(turn, UserTurn)]
    if len(questions) <= turns_max:
        return conversation
    start = questions[-turns_max]
    first = conversation[start]
    assert isinstance(first, UserTurn)
    if not first.images:
        dropped = (turn.images for turn in reversed(conversation[:start]) if isinstance(turn, UserTurn) and turn.images)
        first = first.model_copy(update={"images": next(dropped, ())})
    return (first, *conversation[start + 1 :])
