"""Several wishes in one message, and messages that go on from earlier ones."""

from __future__ import annotations

from planner.conversation import AssistantTurn
from planner.data.rows.mixed import _written, joined
from tests.planner_data_rows import OneWording, built, conversations
from tests.planner_data_scenes import desk


def test_a_message_with_several_wishes_has_all_calls_in_one_plan() -> None:
    for conversation in conversations("wishes"):
        plans = [turn.output for turn in conversation if isinstance(turn, AssistantTurn) and turn.output.actions]
        assert len(plans) <= 2
        assert len(plans[-1].actions) >= 2


def test_seams_join_wishes_into_one_sentence() -> None:
    assert joined("{1} and {2}", "Find the dog.", "Describe it.") == "Find the dog and describe it."
    assert joined("{1} Also: {2}", "Find the dog.", "Describe it.") == "Find the dog. Also: Describe it."
    assert joined("{1} and {2}", "Find the dog.", "I want tags.") == "Find the dog and I want tags."


def test_cutting_out_what_was_found_refers_to_the_boxes() -> None:
    references = [
        action.API_params
        for seed in range(60)
        if (one := built("follow_ups", seed))
        for turn in one.turns
        if isinstance(turn, AssistantTurn)
        for action in turn.output.actions
        if action.API_name == "sam"
    ]
    assert {"boxes": "$grounding_dino.boxes"} in references


def test_a_picture_from_nothing_is_painted_last_so_that_nothing_else_is_done_to_it() -> None:
    one = desk(2)
    one.book = OneWording("{scene} as a new picture, and in mine {edit}.", kind="draw edit")
    one_plan = _written(one)
    assert [action.API_name for action in one_plan.actions] == ["instruct_pix2pix", "stable_diffusion"]
