"""The published checkpoints' text, and the near-JSON that real models write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.conversation import AssistantTurn, Observation, ObservationTurn, UserTurn
from planner.dialects import dialect
from planner.dialects.llava_plus_v0 import ACTIONS, THOUGHTS, VALUE
from planner.format import Action, PlannerOutput, UnparsableOutput
from tests.skill_examples import Echo

DIALECT = dialect("llava_plus_v0")
DETECT = Action(API_name="grounding_dino", API_params={"caption": "girl . cart", "box_threshold": 0.3})

_plain = st.text().map(str.strip).filter(lambda text: not any(mark in text for mark in (THOUGHTS, ACTIONS, VALUE)))
_params = st.dictionaries(st.text(max_size=5), st.text(max_size=10) | st.integers() | st.booleans(), max_size=3)
_actions = st.lists(st.builds(Action, API_name=st.text(min_size=1, max_size=20), API_params=_params), max_size=3)
_outputs = st.builds(PlannerOutput, thoughts=_plain, actions=_actions.map(tuple), value=_plain)


def parsed_or_refused(name: str, text: str) -> PlannerOutput | UnparsableOutput:
    try:
        return dialect(name).parse(text)
    except UnparsableOutput as error:
        return error


@given(_outputs)
def test_parsing_is_the_inverse_of_rendering(output: PlannerOutput) -> None:
    assert DIALECT.parse(DIALECT.render(output)) == output


@given(_plain, st.data())
def test_a_partial_answer_is_a_prefix_of_the_whole_one(value: str, data: st.DataObject) -> None:
    text = DIALECT.render(PlannerOutput(thoughts="No need.", value=value))
    assert value.startswith(DIALECT.partial_value(text[: data.draw(st.integers(0, len(text)))]))
    assert DIALECT.partial_value(text) == value


@given(st.data())
def test_nothing_of_a_remark_beside_a_call_is_shown(data: st.DataObject) -> None:
    text = DIALECT.render(PlannerOutput(actions=(DETECT,), value="Let me look."))
    assert DIALECT.partial_value(text[: data.draw(st.integers(0, len(text)))]) == ""


def test_a_reply_in_the_published_form_is_read() -> None:
    text = (
        '"thoughts🤔" I need to find the girl.\n'
        '"actions🚀" [{"API_name": "grounding_dino", "API_params": {"caption": "girl . cart", "box_threshold": 0.3}}]\n'
        '"value👉" I will use grounding_dino.\n'
    )
    output = DIALECT.parse(text)
    assert output == PlannerOutput(
        thoughts="I need to find the girl.", actions=(DETECT,), value="I will use grounding_dino."
    )
    assert DIALECT.render(output) == text


@pytest.mark.parametrize(
    "written",
    [
        "[{'API_name': 'grounding_dino', 'API_params': {'caption': 'girl . cart', 'box_threshold': 0.3}}]",
        '[{"API_name": "grounding_dino", "API_params": {"caption": "girl . cart", "box_threshold": 0.3,},},]',
        f"```json\n[{DETECT.model_dump_json()}]\n```",
    ],
)
def test_actions_that_are_nearly_json_are_read(written: str) -> None:
    assert DIALECT.parse(f"{THOUGHTS} t\n{ACTIONS} {written}\n{VALUE} v").actions == (DETECT,)
    reply = f'{{"thoughts": "t", "actions": {written}, "value": "v"}}'
    if "```" not in written:
        assert dialect("json").parse(reply).actions == (DETECT,)
        assert dialect("json").parse(f"```json\n{reply}\n```").actions == (DETECT,)


def test_arguments_that_are_null_are_none_at_all() -> None:
    read = DIALECT.parse(f'{THOUGHTS} t\n{ACTIONS} [{{"API_name": "blip2", "API_params": null}}]\n{VALUE} v')
    assert read.actions == (Action(API_name="blip2"),)


def test_a_missing_value_is_empty() -> None:
    assert DIALECT.parse(f"{THOUGHTS} t\n{ACTIONS} []").value == ""
    assert dialect("json").parse('{"thoughts": "t", "actions": []}').value == ""


@pytest.mark.parametrize(
    "written", ['[{"API_name": "sam", "API_params": {"boxes": [[0.1, 0.2', "[{'API_name': 'sam'", "sam(boxes)", "42"]
)
def test_half_a_call_is_never_guessed_at(written: str) -> None:
    with pytest.raises(UnparsableOutput):
        DIALECT.parse(f"{THOUGHTS} t\n{ACTIONS} {written}\n{VALUE} v")
    with pytest.raises(UnparsableOutput):
        dialect("json").parse(f'{{"thoughts":"t","actions":{written}')


@given(st.text())
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    for name in ("json", "llava_plus_v0"):
        read = parsed_or_refused(name, text)
        if isinstance(read, UnparsableOutput):
            assert read.text == text
            assert read.reason


def test_results_come_with_the_first_question_and_no_tool_is_described() -> None:
    found = Observation(skill="grounding_dino", content={"phrases": ["girl"]})
    messages = DIALECT.messages(
        (
            UserTurn(text="Where is she?", images=("img_1",)),
            AssistantTurn(output=PlannerOutput(actions=(DETECT,))),
            ObservationTurn(observations=(found,), question="Where is she?"),
        ),
        [Echo.spec()],
    )
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[2]["content"][0]["text"] == (
        'grounding_dino model outputs: {"phrases":["girl"]}\n\n'
        "Please summarize the model outputs and answer my first question: Where is she?"
    )
    assert DIALECT.schema([Echo.spec()]) is None


def test_an_unknown_dialect_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"Known: json, llava_plus_v0"):
        dialect("latin")
