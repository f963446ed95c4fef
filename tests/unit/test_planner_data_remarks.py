"""Messages that need no tool although a picture, or what tools made of it, is there."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise

import pytest

from planner.conversation import AssistantTurn, Conversation, UserTurn
from planner.data.labels import Noun
from planner.data.phrasebook import read_wordings
from planner.data.results import NoResult
from planner.data.rows import ROWS
from planner.data.rows.missing import WHAT
from planner.data.rows.remarks import TEXTS, compared, reckoned
from planner.data.validation import Validator
from planner.data.wordings import vary
from tests.planner_data_scenes import desk, registry

CAT, DOG = Noun("cat", "cats"), Noun("dog", "dogs")
ANSWERED_BY_HAND = ("chat_short", "chat", "impossible", "follow_judged")
WORDS_MAX = 25


@lru_cache
def remarks() -> tuple[Conversation, ...]:
    made = []
    for seed in range(400):
        one = desk(seed)
        with suppress(NoResult):
            ROWS["remarks"].build(one)
            made.append(one.conversation)
    return tuple(made)


def answers(conversation: Conversation) -> list[bool]:
    """Of each message, whether the planner answered it at once."""
    return [
        turn.output.is_answer
        for before, turn in pairwise(conversation)
        if isinstance(before, UserTurn) and isinstance(turn, AssistantTurn)
    ]


def test_remarks_are_valid_and_something_is_answered_without_a_call() -> None:
    for conversation in remarks():
        Validator(registry()).check(conversation)
        assert any(answers(conversation))


@pytest.mark.parametrize("text", ["?", "...", "!!!"])
def test_a_message_of_marks_alone_never_becomes_empty(text: str) -> None:
    assert all(vary(text, random.Random(seed)).strip() for seed in range(200))


def test_remarks_follow_calls_of_every_skill() -> None:
    before = set()
    for conversation in remarks():
        called: set[str] = set()
        for turn in conversation:
            if isinstance(turn, AssistantTurn) and turn.output.actions:
                called = {action.API_name for action in turn.output.actions}
            elif isinstance(turn, UserTurn):
                before |= called
    assert before == set(WHAT)


def test_a_wish_after_a_remark_is_still_met() -> None:
    met = [not all(told[told.index(True) :]) for told in map(answers, remarks())]
    assert 0.1 < sum(met) / len(met) < 0.4


def test_talk_may_come_first_and_has_a_picture_beside_it() -> None:
    first = [turns[0] for turns in remarks() if answers(turns)[0]]
    assert first
    assert all(isinstance(turn, UserTurn) and turn.images for turn in first)


def test_the_tool_that_was_used_is_named() -> None:
    told = [turns for turns in remarks() if len(turns) > 5 and _answer(turns).startswith("I used ")]
    assert told
    for turns in told:
        assert all(action.API_name in _answer(turns) for action in _first(turns).output.actions)


def test_no_other_picture_comes_with_a_remark_about_a_painted_one() -> None:
    elsewhere = {wording.argument for name in ("chat", "chat_short") for wording in read_wordings(name)}
    about_it = {wording.argument for wording in read_wordings("follow_judged")} - elsewhere
    painted = [turns for turns in remarks() if _first(turns).output.actions and turns[4:5]]
    told = [turns for turns in painted if _answer(turns) in about_it]
    assert told
    assert not any(turns[4].images for turns in told if isinstance(turns[4], UserTurn))


def _first(conversation: Conversation) -> AssistantTurn:
    return next(turn for turn in conversation if isinstance(turn, AssistantTurn))


def _answer(conversation: Conversation) -> str:
    """What the message after the first result was answered with."""
    turn = conversation[5]
    return turn.output.value if isinstance(turn, AssistantTurn) else ""


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("*2", "5 times 2 is 10."),
        ("/2", "5 divided by 2 is 2.5."),
        ("+3", "5 plus 3 is 8."),
        ("-1", "5 minus 1 is 4."),
        (">4", "Yes, 5 is more than 4."),
        (">5", "No, 5 is not more than 5."),
        ("<5", "No, 5 is not less than 5."),
        ("even", "No, 5 is odd."),
        ("odd", "Yes, 5 is odd."),
    ],
)
def test_sums_with_a_number_that_was_found(operation: str, said: str) -> None:
    assert reckoned(operation, 5) == said


@pytest.mark.parametrize(
    ("relation", "dogs", "said"),
    [
        (">", 2, "Yes: 3 cats and 2 dogs."),
        ("<", 2, "No: 3 cats and 2 dogs."),
        ("=", 3, "Yes: 3 cats and 3 dogs."),
        ("which", 4, "More dogs: 3 cats and 4 dogs."),
        ("which", 3, "Equally many: 3 cats and 3 dogs."),
        ("+", 1, "3 plus 1 is 4."),
        ("-", 1, "The difference is 2: 3 cats and 1 dog."),
    ],
)
def test_numbers_that_were_found_are_compared(relation: str, dogs: int, said: str) -> None:
    assert compared(relation, (CAT, 3), (DOG, dogs)) == said


def test_every_sum_and_comparison_of_the_wordings_can_be_done() -> None:
    assert all(reckoned(wording.argument, 4) for wording in read_wordings("follow_sum"))
    assert all(compared(wording.argument, (CAT, 1), (DOG, 2)) for wording in read_wordings("follow_compare"))


def test_texts_about_a_picture_come_from_its_words() -> None:
    told = {kind: tell("a red fox in the snow") for kind, tell in TEXTS.items()}
    assert told["alt"] == "A red fox in the snow."
    assert told["title"] == "Red fox in the snow"
    assert told["hashtags"] == "#red #fox #snow"
    assert told["post"].startswith("A red fox in the snow!")
    assert {wording.kind for wording in read_wordings("follow_text", kinds=True)} == told.keys()


@pytest.mark.parametrize("name", ANSWERED_BY_HAND)
def test_answers_without_a_tool_are_there_and_short(name: str) -> None:
    wordings = read_wordings(name)
    assert all(0 < len(wording.argument.split()) <= WORDS_MAX for wording in wordings)
    texts = [wording.text.lower() for wording in wordings]
    assert len(set(texts)) == len(texts)
