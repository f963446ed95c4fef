"""Conversations about tools that are not offered, and those that are never cut short."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from planner.conversation import AssistantTurn, Conversation, UserTurn
from planner.data.desk import ANSWERED, ChoiceMade, Desk
from planner.data.results import NoResult
from planner.data.rows import ROWS
from planner.data.rows.missing import NOT_OFFERED, WHAT
from planner.data.validation import Refused, Validator
from planner.dialects import dialect
from planner.format import PlannerOutput
from planner.train.config import Source, TrainConfig
from planner.train.dataset import PlannedBatches
from planner.train.samples import Loaded
from services.core.registry import discover
from services.core.spec import SkillSpec
from tests.planner_data_scenes import desk, registry

SEEDS = range(250)


@lru_cache
def built(row: str, *, choice_only: bool = False) -> list[Desk]:
    made = []
    for seed in SEEDS:
        one = desk(seed, choice_only=choice_only)
        with suppress(NoResult, ChoiceMade):
            ROWS[row].build(one)
            made.append(one)
    return made


def answered(conversation: Conversation) -> PlannerOutput:
    last = conversation[-1]
    assert isinstance(last, AssistantTurn)
    return last.output


def called(conversation: Conversation) -> set[str]:
    plans = [turn.output for turn in conversation if isinstance(turn, AssistantTurn)]
    return {action.API_name for plan in plans for action in plan.actions}


def declined(conversation: Conversation) -> list[str]:
    """What was said to wishes that need a missing tool."""
    said = [turn.output for turn in conversation if isinstance(turn, AssistantTurn)]
    return [output.value for output in said if output.thoughts == NOT_OFFERED]


def test_what_is_not_offered_is_never_called_and_a_wish_for_it_is_declined_in_words() -> None:
    made = built("missing_tool")
    assert all(one.without and not called(one.conversation) & set(one.without) for one in made)
    said = [value for one in made for value in declined(one.conversation)]
    assert said
    assert all("not available" in value for value in said)


def test_as_many_wishes_are_met_by_what_is_offered_as_are_declined() -> None:
    made = built("missing_tool")
    assert len(made) > 0.8 * len(SEEDS)
    lacking = [one for one in made if declined(one.conversation)]
    met = [one for one in made if one not in lacking and called(one.conversation)]
    assert len(made) / 3 < len(lacking) < len(made) / 2
    assert len(made) / 3 < len(met) < len(made) * 2 / 3


@pytest.mark.parametrize("met", [True, False])
def test_one_to_fifteen_tools_are_offered_whether_a_wish_is_met_or_not(met: bool) -> None:
    made = [one for one in built("missing_tool") if bool(declined(one.conversation)) != met]
    offered = [len(WHAT) - len(one.without) for one in made]
    assert {1, 2, 3, 15} <= set(offered)
    assert max(offered) == len(WHAT) - 1
    assert min(offered) == 1 or not met
    few = sum(count <= 3 for count in offered)
    assert len(made) / 5 < few < len(made) / 2


def test_one_conversation_has_wishes_that_are_met_before_and_after_one_that_is_not() -> None:
    thoughts = [
        [turn.output.thoughts for turn in one.conversation if isinstance(turn, AssistantTurn)]
        for one in built("missing_tool")
    ]
    places = [(said.index(NOT_OFFERED), len(said)) for said in thoughts if NOT_OFFERED in said]
    assert any(place > 0 for place, _ in places)
    assert any(place + 1 < count for place, count in places)


def test_of_two_wishes_the_one_is_met_whose_tool_is_offered() -> None:
    last = [answered(one.conversation) for one in built("missing_tool")]
    assert any(said.thoughts == ANSWERED and said.value.endswith("not available now.") for said in last)


def test_nothing_is_declined_that_another_tool_comes_near() -> None:
    near = {WHAT[name]: name for name in ("blip2+grounding_dino", "ram", "ram+grounding_dino", "semantic_sam")}
    instead = {"blip2+grounding_dino": "blip2", "ram": "ram+grounding_dino", "ram+grounding_dino": "ram"}
    for one in built("missing_tool"):
        for said in declined(one.conversation):
            for words, name in near.items():
                if f"the tool for {words} is" in said:
                    assert instead.get(name, "sam") in one.without


def test_named_things_are_cut_out_by_detector_and_marks_where_the_composite_is_missing() -> None:
    instead = [one for one in built("missing_tool") if "grounding_dino+sam" in one.without]
    assert {"grounding_dino", "sam"} in [called(one.conversation) for one in instead]


def test_named_things_are_found_by_the_composite_where_the_detector_is_missing() -> None:
    instead = [one for one in built("missing_tool") if "grounding_dino" in one.without]
    found = [one for one in instead if called(one.conversation) == {"grounding_dino+sam"}]
    assert any(answered(one.conversation).value.startswith(("I found", "There")) for one in found)


def test_every_skill_of_the_platform_can_be_missing() -> None:
    assert set(WHAT) == {skill for row in ROWS.values() for skill in row.skills}


def test_a_call_of_what_is_not_offered_is_refused() -> None:
    one = next(one for one in built("caption") if called(one.conversation) == {"blip2"})
    with pytest.raises(Refused, match="blip2: not offered, and called"):
        Validator(registry()).check(one.conversation, ["blip2"])


def test_marks_of_an_earlier_message_are_not_told_again() -> None:
    again = [
        turns
        for one in built("follow_ups")
        if (turns := [turn for turn in one.conversation if isinstance(turn, UserTurn)]) and "Marked" in turns[0].text
    ]
    assert again
    assert all(len(turns) == 2 and "Marked" not in turns[1].text for turns in again)


class Recording:
    """An encoder that keeps with which tools it was asked, and whether to cut."""

    def __init__(self) -> None:
        self.tools: list[str] = []
        self.cut = False

    def encode(self, turns: Conversation, tools: list[SkillSpec], *, cut: bool, mistaken: int) -> Any:
        from planner.train.encode import Encoded

        self.tools, self.cut = [spec.name for spec in tools], cut
        return Encoded([1], [1.0], [False], [])


def asked(sample: dict[str, Any], **settings: Any) -> tuple[Recording, int]:
    """How the trainer's encoder is asked for a sample, and the number of its tokens."""
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "thoughts": "", "actions": [], "value": "Hello!"}]
    config = TrainConfig(
        run=Path("run"),
        output=Path("out"),
        weights=Path("weights"),
        data=(Source(path=Path("data.jsonl")),),
        lengths=(16,),
        batch_tokens=16,
        **settings,
    )
    encoder: Any = Recording()
    specs = {spec.name: spec for spec in discover().specs()}
    pictures: Any = None
    loaded = Loaded({"conversations": turns} | sample, None)
    batches = PlannedBatches(
        config, [loaded], encoder, pictures, specs, {}, pad_id=0, image_id=3, picture_tokens=1
    )  # fmt: skip
    return encoder, len(batches.encoded(0).ids)


def test_a_prompt_says_which_of_the_learned_tools_are_missing() -> None:
    encoder, tokens = asked({"without": ["sam"]}, learned=("sam", "ram", "blip2"))
    assert (encoder.tools, tokens) == (["ram", "blip2"], 1)
    offered = [spec for spec in discover().specs() if spec.name in encoder.tools]
    system = dialect("json", ("sam", "ram", "blip2")).messages((), offered)[0]["content"]
    assert str(system).endswith("Not available: sam.")


def test_samples_about_missing_tools_are_left_out_where_the_prompt_would_not_say_so() -> None:
    assert asked({"without": ["sam"]})[1] == 0


def test_samples_whose_point_comes_later_are_never_cut() -> None:
    assert asked({}, cut_share=1.0)[0].cut
    assert not asked({"whole": True}, cut_share=1.0)[0].cut
