"""Text models for planner data: an endpoint with cache and bounds, rewriting, written dialogues, LLaVA's data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from planner.conversation import AssistantTurn, ObservationTurn, UserTurn
from planner.data.dialogues import WrittenDialogues, planned
from planner.data.labels import LabelledPicture
from planner.data.llava.context import described
from planner.data.llava.convert import converted
from planner.data.llava.noun_phrases import noun_phrases
from planner.data.llava.pairs import filtered, read_pairs, samples
from planner.data.llava.written import llava_rows, questions_and_answers
from planner.data.recipe import DataError, EndpointSettings
from planner.data.released import to_conversation
from planner.data.results import NoResult
from planner.data.rewriting import Rewriter
from planner.data.text_model import EndpointModel, OverBudget
from planner.dialects import dialect
from tests.planner_data_scenes import (
    builder,
    desk,
    picture,
    recipe,
    registry,
    write_json,
    write_lines,
)


class Scripted:
    """A text model with answers in order."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def complete(self, system: str, user: str, *, salt: str = "") -> str:
        self.asked.append(user)
        return self.answers.pop(0)


def endpoint(tmp_path: Path, answers: Sequence[httpx.Response], **more: Any) -> tuple[EndpointModel, list[float]]:
    left = list(answers)
    waits: list[float] = []
    given = EndpointSettings.model_validate({"url": "http://127.0.0.1:9/v1", "model": "m"} | more)
    transport = httpx.MockTransport(lambda request: left.pop(0))
    return EndpointModel(given, tmp_path / "answers.jsonl", transport=transport, wait=waits.append), waits


def said(text: str, tokens: int = 10) -> httpx.Response:
    content = {"choices": [{"message": {"content": text}}], "usage": {"total_tokens": tokens}}
    return httpx.Response(200, json=content)


def test_a_busy_endpoint_is_asked_again_with_longer_waits(tmp_path: Path) -> None:
    model, waits = endpoint(tmp_path, [httpx.Response(429), httpx.Response(503), said("hello")])
    assert model.complete("s", "u") == "hello"
    assert waits == sorted(waits)
    assert len(waits) == 2


def test_answers_are_kept_and_not_asked_for_twice(tmp_path: Path) -> None:
    model, _ = endpoint(tmp_path, [said("one"), said("two")])
    assert [model.complete("s", "u"), model.complete("s", "u"), model.complete("s", "u", salt="1")] == [
        "one",
        "one",
        "two",
    ]
    with (tmp_path / "answers.jsonl").open("a") as cut:
        cut.write('{"key": "half')
    later, _ = endpoint(tmp_path, [])
    assert later.complete("s", "u") == "one"


def test_an_answer_that_follows_half_a_line_is_kept_whatever_characters_it_has(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_bytes('{"key": "half", "text": "Ä'.encode()[:-1])
    first, _ = endpoint(tmp_path, [said("one\u2028two"), said("three")])
    assert [first.complete("s", "u"), first.complete("s", "v")] == ["one\u2028two", "three"]
    later, _ = endpoint(tmp_path, [])
    assert [later.complete("s", "u"), later.complete("s", "v")] == ["one\u2028two", "three"]


def test_a_model_that_says_nothing_words_no_request(tmp_path: Path) -> None:
    nothing = httpx.Response(200, json={"choices": [{"message": {"content": None}}]})
    model, _ = endpoint(tmp_path, [nothing])
    rewriter = Rewriter(model)
    assert rewriter("Say hello.", []) == "Say hello."
    assert rewriter.spoilt == 1


def test_an_endpoint_is_not_asked_beyond_its_bounds(tmp_path: Path) -> None:
    model, _ = endpoint(tmp_path, [said("one")], requests_max=1)
    model.complete("s", "u")
    with pytest.raises(OverBudget, match="requests_max"):
        model.complete("s", "other")
    tokens, _ = endpoint(tmp_path / "t", [said("one", 100)], tokens_max=50)
    tokens.complete("s", "u")
    with pytest.raises(OverBudget, match="tokens_max"):
        tokens.complete("s", "other")


def test_an_endpoint_that_refuses_is_named_at_once(tmp_path: Path) -> None:
    model, waits = endpoint(tmp_path, [httpx.Response(401, text="no key")])
    with pytest.raises(DataError, match="401: no key"):
        model.complete("s", "u")
    assert not waits


def test_requests_are_worded_anew_and_what_must_stay_is_checked() -> None:
    kept = Rewriter(Scripted("Kindly locate the dog."))
    assert kept("Find the dog.", ["dog"]) == "Kindly locate the dog."
    spoilt = Rewriter(Scripted("Kindly locate the animal."))
    assert spoilt("Find the dog.", ["dog"]) == "Find the dog."
    assert spoilt.spoilt == 1


def test_a_dialogue_is_planned_called_and_answered() -> None:
    plan = [{"message": "How many dogs?", "calls": [{"tool": "grounding_dino", "arguments": {"caption": "dog"}}]}]
    model = Scripted(json.dumps(plan), "There are two dogs.")
    one = desk(0)
    WrittenDialogues(model, registry().specs()).build(one)
    asked, called, seen, answered = one.turns
    assert isinstance(asked, UserTurn)
    assert asked.images == ("one.jpg",)
    assert isinstance(called, AssistantTurn)
    assert isinstance(seen, ObservationTurn)
    assert seen.observations[0].content["phrases"] == ["dog", "dog"]
    assert isinstance(answered, AssistantTurn)
    assert answered.output.value == "There are two dogs."
    assert '"phrases":["dog","dog"]' in model.asked[1]


@pytest.mark.parametrize(
    "plan",
    [
        "I would rather not.",
        '[{"calls": []}]',
        '[{"message": "Hi", "calls": [{"tool": "no_such_tool", "arguments": {}}]}]',
        '[{"message": "Hi", "calls": [{"tool": "grounding_dino", "arguments": {}}]}]',
    ],
)
def test_dialogues_that_do_not_fit_are_refused(plan: str) -> None:
    with pytest.raises(NoResult):
        WrittenDialogues(Scripted(plan), registry().specs()).build(desk(0))


def test_single_quotes_in_a_written_plan_are_understood() -> None:
    assert planned("[{'message': 'Hi', 'calls': [],}]") == [("Hi", ())]


def test_llava_conversations_are_parsed_into_turns_without_calls(tmp_path: Path) -> None:
    pairs = [{"question": "What is there?", "answer": "Two dogs."}, {"question": "Where?", "answer": "On a beach."}]
    text = f"```json\n{json.dumps(pairs)}\n```"
    row = llava_rows(Scripted(*[text] * 8))[0]
    data = builder(tmp_path, recipe(rows={"llava_conversation": 1}, samples=2, words=_endpoint()), [row]).run()
    first = to_conversation(json.loads(data.read_text().splitlines()[0]))
    outputs = [turn.output for turn in first if isinstance(turn, AssistantTurn)]
    assert [output.value for output in outputs] == ["Two dogs.", "On a beach."]
    assert all(output.is_answer for output in outputs)


def _endpoint() -> dict[str, Any]:
    return {"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m"}}


def test_text_that_speaks_of_what_was_given_is_refused() -> None:
    with pytest.raises(NoResult, match="speaks of"):
        questions_and_answers('[{"question": "Where?", "answer": "The bounding box is on the left."}]')


def test_a_picture_is_described_by_captions_and_boxes() -> None:
    assert "red car: [0.6, 0.65, 0.95, 0.95]" in described(picture())
    with pytest.raises(NoResult):
        described(LabelledPicture("bare.jpg", (8, 8)))


def test_llavas_instructions_get_thoughts_and_empty_actions(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "What is it?\n<image>"}, {"from": "gpt", "value": "A dog."}]
    path = write_json(tmp_path / "llava.json", [{"id": "1", "image": "1.jpg", "conversations": turns}])
    (sample,) = converted(path)
    first, second = to_conversation(sample)
    assert first == UserTurn(text="What is it?", images=("1.jpg",))
    assert isinstance(second, AssistantTurn)
    assert second.output.thoughts
    assert dialect("llava_plus_v0").parse(dialect("llava_plus_v0").render(second.output)) == second.output


def test_another_file_is_no_llava_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sample 0"):
        list(converted(write_json(tmp_path / "x.json", [{"id": 1}])))


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("A man riding a horse on the beach.", ["man", "horse", "beach"]),
        ("two red cars and an old building", ["red cars", "old building"]),
        ("The dog is running", ["dog"]),
    ],
)
def test_noun_phrases_of_captions(caption: str, phrases: list[str]) -> None:
    assert noun_phrases(caption) == phrases


def test_pairs_of_rare_phrases_go_and_frequent_ones_are_thinned_out() -> None:
    pairs = [(f"dog{number}.jpg", "a dog") for number in range(150)]
    pairs += [(f"owl{number}.jpg", "an owl") for number in range(3)] + [("yak.jpg", "a yak")]
    kept = filtered(pairs, seed=4)
    captions = [caption for _, caption in kept]
    assert (captions.count("a dog"), captions.count("an owl"), captions.count("a yak")) == (100, 3, 0)
    assert kept == filtered(pairs, seed=4)
    turns = next(samples(kept))["conversations"]
    assert turns[0]["value"].startswith("<image>\n")
    assert turns[1]["value"] == kept[0][1]


def test_pairs_are_read_from_conceptual_captions_form(tmp_path: Path) -> None:
    path = tmp_path / "cc.tsv"
    path.write_text("a  dog\tdog.jpg\n")
    assert read_pairs(path) == [("dog.jpg", "a dog")]
    with pytest.raises(DataError, match="needs `image`"):
        read_pairs(write_lines(tmp_path / "cc.jsonl", [{"caption": "x"}]))
