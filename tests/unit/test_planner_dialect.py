"""The planner's JSON dialect: what is rendered can be parsed, and the schema allows exactly valid calls."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from gateway.orchestrator.references import reference
from planner.conversation import AssistantTurn, Observation, ObservationTurn, UserTurn
from planner.dialects.json_dialect import JsonDialect
from planner.format import Action, PlannerOutput, UnparsableOutput
from services.core.registry import discover
from services.core.spec import SkillSpec

DIALECT = JsonDialect()
TOOL = discover().spec("easyocr")

_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_actions = st.builds(
    Action, API_name=st.text(min_size=1, max_size=20), API_params=st.dictionaries(st.text(max_size=5), _values)
)
_outputs = st.builds(
    PlannerOutput, thoughts=st.text(), actions=st.lists(_actions, max_size=3).map(tuple), value=st.text()
)


@given(_outputs)
def test_parsing_is_the_inverse_of_rendering(output: PlannerOutput) -> None:
    assert DIALECT.parse(DIALECT.render(output)) == output


@given(st.text())
def test_any_other_text_is_refused_with_a_reason(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        with pytest.raises(UnparsableOutput) as caught:
            DIALECT.parse(text)
        assert caught.value.text == text
        assert caught.value.reason


PLAN = '{"thoughts":"","actions":[{"API_name":"easyocr","API_params":{}}],"value":""}'
CALL = PlannerOutput(actions=(Action(API_name="easyocr"),))


@pytest.mark.parametrize(
    "text",
    [
        f"Here you are:\n```json\n{PLAN}\n```",
        f"```\n{PLAN}\n```\nI hope that this helps.",
        '{"thoughts":null,"actions":[{"API_name":"easyocr","API_params":null}],"value":null}',
    ],
)
def test_prose_round_a_fenced_plan_and_nulls_for_what_is_empty_are_understood(text: str) -> None:
    assert DIALECT.parse(text) == CALL


def test_what_a_model_makes_up_after_its_plan_is_not_taken_for_the_plan() -> None:
    made_up = '{"thoughts":"","actions":[],"value":"It says STOP."}'
    assert DIALECT.parse(f"{PLAN}\n{made_up}") == CALL


def test_two_fenced_plans_are_not_chosen_between() -> None:
    with pytest.raises(UnparsableOutput):
        DIALECT.parse(f"Either\n```json\n{PLAN}\n```\nor\n```json\n{PLAN}\n```")


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_json_cannot_carry_on_is_refused(number: str) -> None:
    with pytest.raises(UnparsableOutput, match="not finite"):
        DIALECT.parse(PLAN.replace("{}", f'{{"threshold":{number}}}'))


@given(st.text(max_size=30), st.data())
def test_a_partial_answer_is_a_prefix_of_the_whole_one(value: str, data: st.DataObject) -> None:
    text = DIALECT.render(PlannerOutput(thoughts="No tool needed.", value=value))
    cut = data.draw(st.integers(0, len(text)))
    assert value.startswith(DIALECT.partial_value(text[:cut]))
    assert DIALECT.partial_value(text) == value


@given(st.data())
def test_nothing_of_a_remark_beside_a_call_is_shown(data: st.DataObject) -> None:
    text = DIALECT.render(PlannerOutput(thoughts="Read.", actions=(Action(API_name="easyocr"),), value="Let me read."))
    assert DIALECT.partial_value(text[: data.draw(st.integers(0, len(text)))]) == ""


@pytest.mark.parametrize(
    ("actions", "valid"),
    [
        ([], True),
        ([{"API_name": "easyocr", "API_params": {}}], True),
        ([{"API_name": "easyocr", "API_params": {"languages": ["en"]}}], True),
        ([{"API_name": "easyocr", "API_params": {"languages": ["xx"]}}], False),
        ([{"API_name": "easyocr", "API_params": {"language": "en"}}], False),
        ([{"API_name": "unknown", "API_params": {}}], False),
        ([{"API_name": "easyocr"}], False),
    ],
)
def test_the_schema_allows_only_known_skills_with_their_own_arguments(actions: list[Any], valid: bool) -> None:
    schema = DIALECT.schema([TOOL])
    Draft202012Validator.check_schema(schema)
    reply = {"thoughts": "", "actions": actions, "value": ""}
    assert Draft202012Validator(schema).is_valid(reply) is valid


def test_without_tools_the_schema_allows_no_call() -> None:
    validator = Draft202012Validator(DIALECT.schema([]))
    assert validator.is_valid({"thoughts": "", "actions": [], "value": ""})
    assert not validator.is_valid({"thoughts": "", "actions": [{"API_name": "easyocr", "API_params": {}}], "value": ""})


def test_a_conversation_becomes_system_user_assistant_and_result_messages() -> None:
    call = PlannerOutput(thoughts="Read.", actions=(Action(API_name="easyocr"),))
    found = Observation(skill="easyocr", content={"text": "one\ntwo"})
    messages = DIALECT.messages(
        (
            UserTurn(text="What does it say?", images=("img_1",)),
            AssistantTurn(output=call),
            ObservationTurn(observations=(found,), question="What does it say?"),
        ),
        [TOOL],
    )
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert "easyocr(languages): Reads the text in a picture." in messages[0]["content"]
    assert [part["type"] for part in messages[1]["content"]] == ["image_ref", "text"]
    assert DIALECT.parse(messages[2]["content"]) == call
    expected = 'easyocr model outputs: {"text":"one\\ntwo"}\n\nWhat does it say?'
    assert messages[3]["content"] == [{"type": "text", "text": expected}]


def system_of(spoken: JsonDialect, *tools: SkillSpec) -> str:
    return str(spoken.messages((UserTurn(text="Hi"),), tools)[0]["content"])


def test_nothing_is_said_of_learned_tools_that_are_offered_and_new_ones_are_described() -> None:
    other = discover().spec("sam")
    system = system_of(JsonDialect(learned=["easyocr"]), TOOL, other)
    assert "easyocr" not in system
    assert "More tools:" in system
    assert other.summary in system


def test_learned_tools_that_are_not_offered_are_named() -> None:
    spoken = JsonDialect(learned=["easyocr", "ram", "seem"])
    assert "Not available: ram, seem." in system_of(spoken, TOOL)
    assert "No tool is available." in system_of(spoken)
    assert "available" not in system_of(JsonDialect(learned=["easyocr"]), TOOL)


def test_a_model_that_learned_no_tool_reads_of_all() -> None:
    assert TOOL.summary in system_of(DIALECT, TOOL)


def test_a_planner_that_has_learned_nothing_of_ours_is_told_how_results_are_used() -> None:
    finder, cutter = discover().spec("grounding_dino"), discover().spec("sam")
    told = DIALECT.messages((UserTurn(text="hello"),), [finder, cutter])[0]["content"]
    (example,) = set(re.findall(r"\$1\.\w+(?=\")", told))
    parsed = reference(example)
    assert parsed is not None
    assert parsed.path[0] in finder.result_model.model_fields
    assert "Gives boxes, logits, phrases, size." in told
    assert "Gives masks_rle, iou, boxes, size." in told


def test_a_planner_is_told_in_the_words_that_it_was_trained_on() -> None:
    finder = discover().spec("grounding_dino")
    one = DIALECT.messages((UserTurn(text="hello"),), [TOOL])[0]["content"]
    learned = JsonDialect(["easyocr", "sam"]).messages((UserTurn(text="hello"),), [TOOL, finder])[0]["content"]
    assert one == (
        'You help people with pictures. Reply in JSON: "thoughts", "actions", "value".\n'
        f"Tools:\neasyocr(languages): {TOOL.summary}"
    )
    assert "$" not in learned
    assert "Gives" not in learned
