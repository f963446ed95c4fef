from __future__ import annotations

from gateway.state.history import trimmed
from gateway.state.models import Session
from planner.conversation import AssistantTurn, Conversation, UserTurn, last_exchanges
from planner.format import PlannerOutput

HANDLE = "img_" + "0" * 40


def exchange(text: str, *images: str) -> Conversation:
    return UserTurn(text=text, images=images), AssistantTurn(output=PlannerOutput(value=f"answer to {text}"))


def test_a_short_conversation_is_left_alone() -> None:
    conversation = (*exchange("one"), *exchange("two"))
    assert last_exchanges(conversation, 2) == conversation


def test_the_oldest_questions_go_with_their_answers() -> None:
    conversation = (*exchange("one"), *exchange("two"), *exchange("three"))
    assert last_exchanges(conversation, 2) == (*exchange("two"), *exchange("three"))


def test_the_picture_outlives_the_question_that_brought_it() -> None:
    conversation = (*exchange("one", HANDLE), *exchange("two"), *exchange("three"))
    assert last_exchanges(conversation, 1) == exchange("three", HANDLE)


def test_a_session_keeps_its_newest_pictures() -> None:
    handles = [f"img_{number:040x}" for number in range(5)]
    session = Session(id="sess_1", owner="me", created=1.0, images=handles)
    assert trimmed(session, turns_max=2, images_max=2).images == handles[-2:]
