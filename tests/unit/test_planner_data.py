"""Training data of the embedded planner: valid, deterministic, and apart from the evaluation set."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, Turn, UserTurn
from planner.data.embedded import generate
from planner.data.ocr_texts import OcrTexts
from planner.data.released import to_conversation, to_sample
from planner.data.wordings import Wordings, fill, normalised, typo, vary
from planner.dialects import dialect
from planner.eval.texts import POSTER_LINES, TEXTS, reproduced
from planner.eval.tool_choice import REQUESTS, requests, score
from planner.format import Action, PlannerOutput
from services.core.registry import discover

SAMPLES = 1500


def samples() -> list[Conversation]:
    return [to_conversation(sample) for sample in generate(SAMPLES, seed=3)]


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    assert list(generate(50, seed=1)) == list(generate(50, seed=1))
    assert list(generate(50, seed=1)) != list(generate(50, seed=2))


def test_samples_are_json_and_survive_the_way_through_the_released_form() -> None:
    for sample in generate(300, seed=5):
        assert to_sample(sample["id"], to_conversation(json.loads(json.dumps(sample)))) == sample


def test_every_call_names_a_known_skill_with_arguments_that_it_accepts() -> None:
    registry = discover()
    for conversation in samples():
        for turn in conversation:
            if isinstance(turn, AssistantTurn):
                for action in turn.output.actions:
                    registry.spec(action.API_name).args_model.model_validate(action.API_params)


def test_every_conversation_ends_with_the_planner_and_every_observation_follows_a_call() -> None:
    for conversation in samples():
        assert isinstance(conversation[-1], AssistantTurn)
        for before, turn in pairwise(conversation):
            if isinstance(turn, ObservationTurn):
                assert isinstance(before, AssistantTurn)
                assert before.output.actions


def test_both_choices_are_about_equally_frequent() -> None:
    firsts = [next(turn for turn in c if isinstance(turn, AssistantTurn)).output.is_answer for c in samples()]
    assert 0.35 < sum(firsts) / len(firsts) < 0.6


def test_there_are_enough_different_wordings_of_both_kinds() -> None:
    wordings = Wordings.load()
    reading = {normalised(text) for text in _reading(wordings)}
    answering = {normalised(text) for text in [*(text for text, _ in wordings.answer), *wordings.cannot_see]}
    assert len(reading) >= 250
    assert len(answering) >= 300
    assert not reading & answering


def test_no_request_of_the_evaluation_set_is_in_the_training_data() -> None:
    wordings = Wordings.load()
    known = {normalised(text) for text, _ in wordings.answer}
    for text in [*_reading(wordings), *wordings.cannot_see]:
        known |= {normalised(text.replace("{thing}", thing)) for thing in wordings.things}
    known |= {normalised(t.text) for c in samples() for t in c if isinstance(t, UserTurn)}
    # The other requests there are for planners with all skills, whose data refuses them one by one while it is built.
    asked = [normalised(request["text"]) for file in REQUESTS.glob("reading*.jsonl") for request in requests(file)]
    assert len(set(asked)) == len(asked) >= 60
    assert not known & set(asked)


def test_the_evaluation_set_has_as_many_requests_of_either_kind() -> None:
    expected = [request["expected"] for request in requests()]
    assert expected.count("easyocr") == expected.count(None) >= 30


def test_no_text_of_the_copying_check_is_in_the_training_data() -> None:
    drawn = {line.lower() for c in samples() for t in c if isinstance(t, ObservationTurn) for line in _lines(t)}
    long = {line.lower() for text in [*TEXTS, "\n".join(POSTER_LINES)] for line in text.split("\n") if len(line) > 15}
    assert not drawn & long


@given(st.integers(0, 10_000))
def test_made_up_texts_have_lines_and_every_part_is_found_in_them(seed: int) -> None:
    ocr = OcrTexts(["alpha", "beta", "gamma"], random.Random(seed)).draw()
    assert 1 <= len(ocr.lines) <= 30
    assert all(line and "\n" not in line for line in ocr.lines)
    assert all(part in ocr.text for part in ocr.parts.values())


@given(st.text(max_size=40), st.integers(0, 1000))
def test_varied_wordings_keep_placeholders_filled_and_never_fail(text: str, seed: int) -> None:
    rng = random.Random(seed)
    assert "{thing}" not in fill("a {thing} here", rng, ["sign"])
    assert abs(len(typo(text, rng)) - len(text)) <= 1
    if text:
        vary(text, rng)


_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda text: "model outputs:" not in text and "failed:" not in text and not text.startswith("<image>")
)


@given(_texts, _texts, st.booleans())
def test_any_conversation_survives_the_way_through_the_released_form(text: str, answer: str, failed: bool) -> None:
    conversation: Conversation = (
        UserTurn(text=text, images=("a.png", "b.png")),
        AssistantTurn(output=PlannerOutput(actions=(Action(API_name="easyocr", API_params={"languages": ["en"]}),))),
        ObservationTurn(
            observations=(
                Observation(skill="easyocr", content={"text": answer}, failed=failed),
                Observation(skill="sam", content={"masks_rle": []}),
            ),
            question=text,
        ),
        AssistantTurn(output=PlannerOutput(thoughts=text, value=answer)),
    )
    assert to_conversation(to_sample("x", conversation)) == conversation


@pytest.mark.parametrize("value", ["What is it?\n<image>", "<image>\nWhat is it?", "<image> What is it?"])
def test_llavas_own_files_mark_a_picture_before_or_after_the_question(value: str) -> None:
    sample = {"id": "x", "image": "a.jpg", "conversations": [{"from": "human", "value": value}]}
    assert to_conversation(sample) == (UserTurn(text="What is it?", images=("a.jpg",)),)


@pytest.mark.parametrize(
    "result",
    [
        "grounding_dino model outputs: {'boxes': [[0.1, 0.2, 0.3, 0.4]], 'phrases': [\"dog's\"]}\n\n"
        "Please summarize the model outputs and answer my first question: Where is it?",
        "grounding_dino output: {'boxes': [[0.1, 0.2, 0.3, 0.4]], 'phrases': [\"dog's\"]}\n\n"
        "Answer my first question: Where is it?\n<image>",
    ],
)
def test_results_as_they_were_published_are_read_and_told_in_the_served_words(result: str) -> None:
    called = {"thoughts": "", "actions": [{"API_name": "grounding_dino", "API_params": {}}], "value": ""}
    turns = [{"from": "human", "value": "Where is it?\n<image>"}, {"from": "gpt"} | called]
    sample = {"id": "x", "image": "a.jpg", "conversations": [*turns, {"from": "human", "value": result}]}
    *_, last = to_conversation(sample)
    content = {"boxes": [[0.1, 0.2, 0.3, 0.4]], "phrases": ["dog's"]}
    seen = (Observation(skill="grounding_dino", content=content),)
    assert last == ObservationTurn(observations=seen, question="Where is it?")
    text = dialect("llava_plus_v0").messages((last,), [])[-1]["content"][0]["text"]
    assert text.count("answer my first question") == 1


def test_text_that_only_looks_like_a_result_stays_a_question() -> None:
    value = "sam model outputs: {what? } is that}"
    sample = {"id": "x", "conversations": [{"from": "human", "value": value}]}
    assert to_conversation(sample) == (UserTurn(text=value),)


def test_a_sample_with_more_picture_marks_than_pictures_is_refused() -> None:
    sample = {"id": "x", "conversations": [{"from": "human", "value": "<image>\nHi"}]}
    with pytest.raises(ValueError, match="more <image> marks"):
        to_conversation(sample)
    with pytest.raises(ValueError, match="more <image> marks"):
        to_conversation({"id": "x", "conversations": [{"from": "human", "value": "Hi\n<image>"}]})
    with pytest.raises(ValueError, match="'human' or 'gpt'"):
        to_conversation({"id": "x", "conversations": [{"from": "system", "value": "Hi"}]})


def test_scoring_counts_right_choices_copied_lines_and_broken_replies() -> None:
    expected = {request["text"]: request["expected"] for request in requests()}

    def perfect(conversations: Sequence[Conversation]) -> list[PlannerOutput | None]:
        return [_perfect(conversation[-1]) for conversation in conversations]

    def _perfect(last: Turn) -> PlannerOutput:
        if isinstance(last, ObservationTurn):
            return PlannerOutput(value="It says:\n" + "\n".join(_lines(last)))
        assert isinstance(last, UserTurn)
        name = expected[last.text]
        return PlannerOutput(actions=(Action(API_name=name),) if name else (), value="Hello")

    def broken(conversations: Sequence[Conversation]) -> list[PlannerOutput | None]:
        return [None] * len(conversations)

    best, worst = score(perfect), score(broken)
    assert (best.read_right, best.answer_right) == (best.read_all, best.answer_all)
    assert (best.copied_lines, best.poster_lines, best.broken) == (best.all_lines, 12, 0)
    assert worst.read_right == worst.answer_right == worst.copied_lines == 0
    assert worst.broken == len(requests()) + len(TEXTS) + 1
    assert "tool choice in all" in best.table()


def test_a_line_counts_as_copied_only_when_it_is_nearly_the_same() -> None:
    assert reproduced("It says:\nClean hands with soap and watcr", ("Clean hands with soap and water",)) == 1
    assert reproduced("It says:\nWash your hands", ("Clean hands with soap and water",)) == 0


def _reading(wordings: Wordings) -> list[str]:
    return [*wordings.read_whole, *(text for _, text in wordings.read_part), *wordings.read_other]


def _lines(turn: ObservationTurn) -> list[str]:
    return str(turn.observations[0].content.get("text", "")).split("\n")
