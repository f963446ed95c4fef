"""Samples that are refused before they can teach nonsense."""

from __future__ import annotations

import pytest

from planner.conversation import AssistantTurn, Conversation, UserTurn
from planner.data.validation import Refused, Validator
from planner.format import Action, PlannerOutput
from tests.planner_data_scenes import registry


def _said(text: str, *actions: Action) -> Conversation:
    asked = UserTurn(text=text, images=("one.jpg",))
    return (asked, AssistantTurn(output=PlannerOutput(actions=actions, value="" if actions else "Yes.")))


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        ((), "does not start with a person"),
        (_said("Find it.", Action(API_name="nothing")), "an unknown skill"),
        (_said("Find it.", Action(API_name="grounding_dino")), "grounding_dino: caption does not fit its schema"),
        (_said("Cut.", Action(API_name="sam", API_params={"boxes": [[2, 0, 1, 1]]})), "sam: boxes does not fit"),
        (_said("Paint.", Action(API_name="inpainting", API_params={"prompt": "a dog"})), "inpainting: no mask"),
        (_said("Paint.", Action(API_name="controlnet", API_params={"prompt": "a dog"})), "controlnet: no image seg"),
        (_said(" "), "an empty question"),
        (_said("x" * 9000), "too long"),
        (_said("Known, request!"), "a request of an evaluation set"),
        (_said("Hi")[:1], "does not end with the planner"),
    ],
)
def test_what_is_not_fit_is_refused_with_its_reason(conversation: Conversation, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        Validator(registry(), forbidden=["known request"]).check(conversation)


def test_a_mask_that_an_earlier_call_makes_is_enough_for_inpainting() -> None:
    plan = (Action(API_name="sam"), Action(API_name="inpainting", API_params={"prompt": "a dog"}))
    Validator(registry()).check(_said("Replace this.", *plan))


def test_skills_outside_a_recipe_are_refused() -> None:
    with pytest.raises(Refused, match="ram: not among"):
        Validator(registry(), ["sam"]).check(_said("Tags.", Action(API_name="ram")))
