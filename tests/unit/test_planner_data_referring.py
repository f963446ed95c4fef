"""Follow-ups that refer to a thing by pronoun, or to a picture that was made or came before it."""

from __future__ import annotations

import pytest

from gateway.orchestrator.gallery import Gallery
from planner.conversation import AssistantTurn, Conversation, UserTurn
from planner.data.phrasebook import read_wordings
from planner.data.rows import ROWS
from planner.data.rows.plans import PLANS
from planner.data.rows.referring import ORIGINAL, by_pronoun, on_another_picture
from planner.format import Action
from tests.planner_data_scenes import VOCABULARY, built


def calls(conversation: Conversation) -> list[Action]:
    plans = [turn.output for turn in conversation if isinstance(turn, AssistantTurn)]
    return [action for plan in plans for action in plan.actions]


def test_a_pronoun_becomes_the_name_of_the_thing_that_was_asked_about() -> None:
    kinds = set()
    for conversation in built(by_pronoun):
        first, second = calls(conversation)
        (asked,) = first.API_params.values()
        names = [noun.name for noun in VOCABULARY.nouns if noun.name in str(asked)]
        assert any(name in str(value) for name in names for value in second.API_params.values())
        kinds.add(second.API_name)
    assert {"clip_retrieval", "instruct_pix2pix", "grounding_dino"} <= kinds


def test_the_original_is_named_and_a_made_picture_is_the_newest() -> None:
    named = [[action.API_params.get("image") for action in calls(one)][1:] for one in built(on_another_picture)]
    assert {(None,), (ORIGINAL,), (ORIGINAL, None)} == {tuple(images) for images in named}


def test_the_gateway_knows_the_original_by_that_name() -> None:
    sent, made = (f"img_{letter * 40}" for letter in "ab")
    assert Gallery().with_pictures([sent, made]).find(ORIGINAL) == sent


def test_follow_ups_come_late_in_a_conversation_too() -> None:
    messages = [sum(isinstance(turn, UserTurn) for turn in one) for one in built(ROWS["follow_ups"].build)]
    assert {2, 3} <= set(messages)


@pytest.mark.parametrize("name", ["follow_it", "follow_picture"])
def test_every_kind_of_wording_has_a_plan(name: str) -> None:
    kinds = {wording.kind.split()[0] for wording in read_wordings(name, kinds=True)}
    assert kinds <= PLANS.keys() | {"colour", "look"}
