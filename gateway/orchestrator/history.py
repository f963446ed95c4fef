"""Keeps a conversation short enough for the planner."""

from __future__ import annotations

from planner.conversation import Conversation, UserTurn


def trimmed(conversation: Conversation, exchanges_max: int) -> Conversation:
    """The last `exchanges_max` questions with everything that followed each of them."""
    starts = [index for index, turn in enumerate(conversation) if isinstance(turn, UserTurn)]
    if len(starts) <= exchanges_max:
        return conversation
    return conversation[starts[-exchanges_max] :] if exchanges_max else ()
