"""Conversations in which something goes wrong: what is called again, what is given up, and what is not learned."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.orchestrator.arguments import validate
from gateway.orchestrator.plan import resolved
from gateway.orchestrator.planned import PlannedCall
from gateway.orchestrator.repair import told_to_rewrite
from gateway.ports import SkillClient
from planner.conversation import AssistantTurn, Conversation, ObservationTurn, UserTurn, without_mistakes
from planner.data.desk import ANSWERED, FAILED, Desk
from planner.data.released import to_conversation, to_sample
from planner.data.rows.troubles import ONCE_MORE
from planner.data.validation import Refused, Validator
from planner.dialects import dialect
from planner.format import PlannerOutput, UnparsableOutput
from planner.train.config import Source, TrainConfig
from planner.train.encode import Encoder
from planner.train.samples import Loaded, adapted
from services.core.errors import BadArguments, UnknownSkill
from tests.planner_data_rows import desks
from tests.planner_data_scenes import builder, recipe, registry
from tests.tiny_llava import tokenizer


@lru_cache
def repaired() -> list[Desk]:
    return desks("repaired", tries=150)


def plans(conversation: Conversation) -> list[PlannerOutput]:
    return [turn.output for turn in conversation if isinstance(turn, AssistantTurn)]


def errors(conversation: Conversation) -> list[str]:
    seen = [one for turn in conversation if isinstance(turn, ObservationTurn) for one in turn.observations]
    return [str(one.content["error"]) for one in seen if one.failed]


def mistaken(error: str) -> list[Desk]:
    """Desks on which the planner is told of a mistake of its own."""
    found = [one for one in repaired() if one.mistaken and re.search(error, errors(one.conversation)[0])]
    assert found
    return found


def test_one_trouble_is_made_good_by_one_more_call_and_answered() -> None:
    for one in repaired():
        first, again, answer = plans(one.conversation)
        assert again.thoughts == ONCE_MORE
        assert again.actions
        assert (answer.thoughts, len(errors(one.conversation))) == (ANSWERED, 1)
        assert one.mistaken or first.actions == again.actions


def test_what_failed_twice_or_for_good_is_told() -> None:
    lengths = set()
    for one in desks("failure", tries=40):
        *calls, said = plans(one.conversation)
        lengths.add(len(calls))
        assert said.thoughts == FAILED
        assert len({tuple(action.API_name for action in call.actions) for call in calls}) == 1
        assert one.mistaken == 0
    assert lengths == {1, 2}


def test_strange_arguments_are_refused_by_the_gateway_in_the_same_words() -> None:
    for one in mistaken("has no argument"):
        (action,) = plans(one.conversation)[0].actions
        call = PlannedCall(0, action.API_name, dict(action.API_params))
        call.spec, call.args = registry().spec(action.API_name), dict(action.API_params)
        with pytest.raises(BadArguments, match=f"^{re.escape(errors(one.conversation)[0])}$"):
            validate(call)


def test_strange_names_are_refused_by_the_gateway_in_the_same_words() -> None:
    skills = cast(SkillClient, registry_client())
    for one in mistaken("No tool is called"):
        (action,) = plans(one.conversation)[0].actions
        with pytest.raises(UnknownSkill) as caught:
            resolved(action.API_name, skills)
        said, told = str(caught.value), errors(one.conversation)[0]
        assert said.split(" Did you mean ")[0] == told.split(" Did you mean ")[0]
        assert said.partition(" Known tools: ")[2] == told.partition(" Known tools: ")[2]


def registry_client() -> Any:
    class Skills:
        resolve = staticmethod(registry().spec)
        specs = staticmethod(registry().specs)

    return Skills()


def test_broken_replies_are_told_as_the_gateway_tells_them() -> None:
    read = dialect("json")
    for one in mistaken("^not JSON"):
        start, said, told = one.conversation[:3]
        assert isinstance(start, UserTurn)
        assert isinstance(said, AssistantTurn)
        with pytest.raises(UnparsableOutput) as caught:
            read.parse(said.output.value)
        assert told_to_rewrite(caught.value, start.text) == (said, told)


def test_mistakes_need_not_be_valid_and_what_follows_must() -> None:
    validator = Validator(registry())
    for one in mistaken("has no argument|No tool"):
        validator.check(one.conversation, mistaken=one.mistaken)
        with pytest.raises(Refused):
            validator.check(one.conversation)
        rest = without_mistakes(one.conversation, one.mistaken)
        assert rest == (one.conversation[0], *one.conversation[3:])


def test_mistakes_are_read_and_not_learned() -> None:
    one = mistaken("has no argument")[0]
    encoder = Encoder(tokenizer(), dialect("json"), registry().specs(), picture_tokens=4)
    with_all, learned = (encoder.encode(one.conversation, mistaken=count) for count in (0, one.mistaken))
    assert with_all.ids == learned.ids
    spoken = tokenizer().decode([token for token, weight in zip(learned.ids, learned.weights, strict=True) if weight])
    said = [dialect("json").render(output) for output in plans(one.conversation)]
    assert said[0] not in spoken
    assert all(text in spoken for text in said[1:])
    assert not any(chosen and not weight for chosen, weight in zip(learned.choices, learned.weights, strict=True))


def test_samples_say_how_many_mistakes_they_begin_with(tmp_path: Path) -> None:
    data = builder(tmp_path, recipe(rows={"repaired": 1.0}, samples=30)).run()
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").split("\n") if line]
    counts = {sample.get("mistaken", 0) for sample in rows}
    assert counts == {0, 1}
    wrong = next(Loaded(sample, None) for sample in rows if sample.get("mistaken"))
    assert wrong.mistaken == 1
    assert wrong.whole


def test_where_nothing_is_called_there_are_no_mistakes_either() -> None:
    one = mistaken("No tool")[0]
    turns = to_conversation(to_sample("1", one.conversation))
    source = Source(generate="reading", samples=1)
    folders = {name: Path(name) for name in ("run", "output", "weights")}
    config = TrainConfig(setting="all_tools", data=[source], lengths=[512], **folders)
    made, count = adapted(turns, config, {}, one.mistaken)
    assert count == 0
    assert [output.is_answer for output in plans(made)] == [True]
    assert "No tool is called" not in str(made)
