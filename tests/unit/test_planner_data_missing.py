"""Conversations about tools that are not offered, and those that are never cut short."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from planner.conversation import AssistantTurn, Conversation, UserTurn
from planner.data.desk import ChoiceMade, Desk
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


def test_what_is_not_offered_is_never_called_and_its_lack_is_told_or_made_up_for() -> None:
    made = built("missing_tool")
    honest = [one for one in made if answered(one.conversation).thoughts == NOT_OFFERED]
    assert all(one.without and not called(one.conversation) & set(one.without) for one in made)
    assert all(not called(one.conversation) for one in honest)
    assert all("not available" in answered(one.conversation).value for one in honest)
    assert len(made) / 5 < len(honest) < len(made) * 4 / 5


def test_named_things_are_cut_out_by_detector_and_marks_where_the_composite_is_missing() -> None:
    instead = [one for one in built("missing_tool") if "grounding_dino+sam" in one.without]
    assert {"grounding_dino", "sam"} in [called(one.conversation) for one in instead]


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

    def encode(self, turns: Conversation, tools: list[SkillSpec], *, cut: bool) -> Any:
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
