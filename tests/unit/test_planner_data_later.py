"""Wishes late in a conversation, and questions that earlier results answer."""

from __future__ import annotations

import pytest

from planner.conversation import AssistantTurn, Conversation
from planner.data.phrasebook import read_wordings
from planner.data.rows.later import _KNOWN, after_talk, another_tool, known_already, the_same_elsewhere
from planner.data.rows.plans import PLANS
from planner.format import Action, PlannerOutput
from tests.planner_data_scenes import built


def outputs(conversation: Conversation) -> list[PlannerOutput]:
    return [turn.output for turn in conversation if isinstance(turn, AssistantTurn)]


def calls(conversation: Conversation) -> list[Action]:
    return [action for output in outputs(conversation) for action in output.actions]


def test_the_other_tool_is_another_one_than_before() -> None:
    pairs = {tuple(action.API_name for action in calls(one)) for one in built(another_tool)}
    assert all(first != second for first, second in pairs)
    assert len({second for _, second in pairs}) > 5


def test_talk_calls_nothing_and_the_wish_after_it_one_tool() -> None:
    for conversation in built(after_talk):
        said = outputs(conversation)
        called = [number for number, output in enumerate(said) if output.actions]
        assert len(called) == 1
        assert called[0] >= 1


def test_the_same_for_another_thing_changes_nothing_but_the_thing() -> None:
    made = [calls(one) for one in built(the_same_elsewhere)]
    assert made
    for first, second in made:
        assert first.API_name == second.API_name
        assert first.API_params.keys() == second.API_params.keys()
        assert first.API_params != second.API_params


def test_what_is_known_already_is_told_without_a_call() -> None:
    for conversation in built(known_already):
        first, *_, last = outputs(conversation)
        assert first.actions
        assert last.is_answer
        assert len(calls(conversation)) == len(first.actions)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("follow_other", PLANS.keys() | {"look"}),
        ("follow_late", PLANS.keys() | {"look"}),
        ("follow_known", set(_KNOWN)),
    ],
)
def test_every_kind_of_wording_is_dealt_out(name: str, kinds: set[str]) -> None:
    assert {wording.kind for wording in read_wordings(name, kinds=True)} <= kinds
