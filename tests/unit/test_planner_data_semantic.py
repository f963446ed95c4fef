"""Semantic segmentation's conversations: areas that were asked about, and maps of some classes."""

from __future__ import annotations

from planner.conversation import AssistantTurn, Conversation
from planner.data.phrasebook import Wording
from planner.data.rows.semantic_segmentation import of_classes, whole
from tests.planner_data_scenes import desk


def _with(wordings: str, wording: Wording, seed: int) -> Conversation:
    one = desk(seed)
    one.book.deal(wordings, lambda: [wording])
    one.perform((whole if wordings == "semantic" else of_classes)(one))
    return one.conversation


def _plan_and_answer(conversation: Conversation) -> tuple[dict[str, object], str]:
    plan, answer = (turn for turn in conversation if isinstance(turn, AssistantTurn))
    return plan.output.actions[0].API_params, answer.output.value


def test_an_area_that_was_asked_about_is_told_first_from_a_map_of_all_classes() -> None:
    params, answer = _plan_and_answer(_with("semantic", Wording("How much of it is dog?", "dog"), 0))
    assert params == {}
    assert answer.startswith("Here is the map: dog ")
    assert "beach" in answer


def test_a_class_that_the_map_does_not_have_is_said_to_be_missing() -> None:
    _, answer = _plan_and_answer(_with("semantic", Wording("Is it more forest or more beach?", "forest, beach"), 0))
    assert answer.startswith("Here is the map: no forest, beach ")


def test_a_thing_in_a_colour_is_of_its_kinds_class() -> None:
    for seed in range(40):
        params, _ = _plan_and_answer(_with("semantic_classes", Wording("Map only {noun} and {noun2}."), seed))
        classes = params["classes"]
        assert isinstance(classes, list)
        assert classes
        assert not any(name.startswith("red ") for name in classes)
