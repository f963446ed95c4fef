"""Rows of Table 2: every conversation is valid, calls what it says, and answers from what the calls gave."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest

from gateway.orchestrator.events import TurnRequest
from gateway.orchestrator.gallery import Gallery
from gateway.orchestrator.question import question_text
from gateway.state.models import Marks
from planner.conversation import AssistantTurn, ObservationTurn, UserTurn
from planner.data.answers import place
from planner.data.desk import ChoiceMade, Voice
from planner.data.exact import ExactResults, Noise
from planner.data.labels import LabelledPicture
from planner.data.marks import with_marks
from planner.data.phrasebook import Phrasebook, read_wordings
from planner.data.released import to_conversation, to_sample
from planner.data.results import Asked, NoResult
from planner.data.rows import ROWS
from planner.data.rows.detection import count, detect, named, where
from planner.data.rows.questions import open_question, question
from planner.data.validation import Validator
from planner.data.visual_questions import PROMPTS
from planner.data.wordings import unadorned
from planner.dialects import dialect
from services.core.spec import Symbol
from tests.planner_data_rows import TRIES, OneWording, built, conversations, desks
from tests.planner_data_scenes import SILENT, desk, picture, registry


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("choice_only", [False, True])
def test_every_row_makes_valid_conversations_that_survive_the_released_form(row: str, choice_only: bool) -> None:
    validator = Validator(registry())
    for one in desks(row, choice_only=choice_only):
        conversation = one.conversation
        validator.check(conversation, mistaken=one.mistaken)
        sample = json.loads(json.dumps(to_sample("1", conversation)))
        assert to_conversation(sample) == conversation


@pytest.mark.parametrize("row", ROWS)
def test_rows_call_only_the_skills_that_they_declare(row: str) -> None:
    if row in ("failure", "repaired"):
        return
    for conversation in conversations(row):
        called = {
            action.API_name
            for turn in conversation
            if isinstance(turn, AssistantTurn)
            for action in turn.output.actions
        }
        assert called <= set(ROWS[row].skills)


@pytest.mark.parametrize("form", ["json", "llava_plus_v0"])
def test_samples_survive_both_written_dialects(form: str) -> None:
    written = dialect(form)
    for row in ("detection", "wishes", "ocr", "conversation"):
        for conversation in conversations(row):
            for turn in conversation:
                if isinstance(turn, AssistantTurn):
                    assert written.parse(written.render(turn.output)) == turn.output


def test_every_skill_of_the_platform_has_a_row() -> None:
    covered = {skill for row in ROWS.values() for skill in row.skills}
    assert {spec.name for spec in registry().specs()} <= covered


def test_short_thoughts_of_different_skills_start_with_different_words() -> None:
    firsts: dict[str, set[str]] = {}
    for row in ROWS.values():
        if row.name in ("wishes", "failure", "repaired", "mixed", "follow_ups", "remarks", "inpainting", "layout"):
            continue
        for conversation in conversations(row.name, choice_only=True):
            output = next(turn.output for turn in conversation if isinstance(turn, AssistantTurn))
            tool = output.actions[0].API_name if output.actions else ""
            firsts.setdefault(output.thoughts.split()[0], set()).add(tool)
    assert all(len(tools) == 1 for tools in firsts.values()), firsts


def test_a_sample_of_choice_ends_with_the_plan() -> None:
    for conversation in conversations("detection", choice_only=True):
        assert isinstance(conversation[-1], AssistantTurn)
        assert conversation[-1].output.actions
        assert len(conversation) == 2


def test_a_wording_about_something_beyond_the_source_ends_with_its_call() -> None:
    one = desk(1)
    one.book, one.may_end = OneWording("Who wears a helmet? Box them.", "person wearing a helmet"), True
    with pytest.raises(ChoiceMade):
        one.perform(detect(one))
    answer = one.turns[-1]
    assert isinstance(answer, AssistantTurn)
    assert answer.output.actions[0].API_params == {"caption": "person wearing a helmet"}


def test_a_wording_about_something_beyond_the_source_is_refused_where_the_conversation_goes_on() -> None:
    one = desk(1)
    one.book = OneWording("Who wears a helmet? Box them.", "person wearing a helmet")
    with pytest.raises(NoResult, match="the source does not have"):
        detect(one)


def test_counting_answers_with_the_number_of_boxes_found() -> None:
    for seed in range(TRIES):
        one = desk(seed)
        one.book = OneWording("How many {nouns} and {nouns2} are there?")
        one.perform(count(one))
        seen = next(turn for turn in one.turns if isinstance(turn, ObservationTurn)).observations[0]
        answer = one.turns[-1]
        assert isinstance(answer, AssistantTurn)
        for name in set(seen.content["phrases"]):
            assert f"{seen.content['phrases'].count(name)} {name}" in answer.output.value


def test_answers_follow_a_wrong_result_and_not_the_labels() -> None:
    blind = Noise(missed=1.0, mistaken=0.0, shift=0.0, wrong=0.0)
    one = desk(1, noise=blind)
    one.book = OneWording("Where is the {noun}?")
    one.perform(where(one))
    answer = one.turns[-1]
    assert isinstance(answer, AssistantTurn)
    assert answer.output.value.startswith("I do not see")


def test_coordinates_are_told_where_they_were_asked_for() -> None:
    answers, book = [], Phrasebook(0)
    for seed in range(len(read_wordings("detect"))):
        one = desk(seed)
        one.book = book
        with suppress(NoResult):
            one.perform(detect(one))
            asked, said = one.turns[0], one.turns[-1]
            assert isinstance(asked, UserTurn)
            assert isinstance(said, AssistantTurn)
            answers.append(("coordinates" in asked.text.lower(), "[" in said.output.value, "no " in said.output.value))
    assert any(asked for asked, _, _ in answers)
    assert all(told or nothing for asked, told, nothing in answers if asked)


@pytest.mark.parametrize(
    ("wording", "argument"),
    [
        ("Box the {noun}, threshold {threshold}.", "box_threshold"),
        ("Only {nouns} that score over {percent}%.", "box_threshold"),
        ("The {noun}, text threshold {text_threshold}.", "text_threshold"),
    ],
)
def test_a_threshold_that_a_request_states_is_an_argument_of_the_call(wording: str, argument: str) -> None:
    for seed in range(TRIES):
        one = desk(seed)
        one.book = OneWording(wording)
        _, text, action, _ = named(one, "detect", "grounding_dino")
        assert action.API_params.keys() == {"caption", argument}
        stated = action.API_params[argument]
        assert f"{stated:g}" in text or f"{100 * stated:.0f}%" in text


def test_boxes_that_score_less_than_the_stated_threshold_are_not_found() -> None:
    def seen(**more: float) -> list[float]:
        asked = Asked("grounding_dino", {"caption": "dog . car", **more}, picture(), seed=5)
        return list(ExactResults(SILENT).call(asked)["logits"])

    assert seen(box_threshold=seen()[0]) == seen()[:1]
    assert seen(box_threshold=1.0) == []


def test_a_wish_about_two_pictures_calls_a_tool_for_each_and_tells_both_results() -> None:
    said = set()
    for seed in range(TRIES):
        one = desk(seed, others=lambda: replace(picture(), name="other.jpg"))
        one.book = OneWording("Read the first, and count the {nouns} in the second.", kind="read 1 count 2")
        one.rng.random = lambda: 0.1  # type: ignore[method-assign]
        ROWS["two_pictures"].build(one)
        plan, answer = one.turns[1], one.turns[-1]
        assert isinstance(plan, AssistantTurn)
        assert isinstance(answer, AssistantTurn)
        called = [(action.API_name, action.API_params["image"]) for action in plan.output.actions]
        assert called == [("easyocr", "image 1"), ("grounding_dino", "image 2")]
        said.add(answer.output.value)
    assert all(text.startswith("The first: ") and "The second: There" in text for text in said)


def test_only_the_thing_of_a_wordings_own_argument_is_looked_for() -> None:
    one = desk(1)
    one.book = OneWording("Not the {noun2}, the {noun}!", "{noun}")
    _, _, action, nouns = named(one, "detect", "grounding_dino")
    assert [noun.name for noun in nouns] == [action.API_params["caption"]]
    assert " . " not in str(action.API_params["caption"])


def test_a_thing_that_a_wording_describes_more_closely_than_labels_do_ends_with_its_call() -> None:
    one = desk(1)
    one.book, one.may_end = OneWording("Frame the {noun} nearest to me.", "{noun} nearest to me . person"), True
    with pytest.raises(ChoiceMade):
        one.perform(detect(one))
    (asked,) = [turn.output.actions[0] for turn in one.turns if isinstance(turn, AssistantTurn)]
    described, other = str(asked.API_params["caption"]).split(" . ")
    assert described.endswith(" nearest to me")
    assert described.removesuffix(" nearest to me") in str(one.turns[0])
    assert other == "person"


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0.0, 0.4, 0.2, 0.6), "on the left"),
        ((0.8, 0.4, 1.0, 0.6), "on the right"),
        ((0.4, 0.0, 0.6, 0.2), "at the top"),
        ((0.7, 0.7, 0.9, 0.9), "at the bottom right"),
        ((0.4, 0.4, 0.6, 0.6), "in the middle"),
    ],
)
def test_places_are_told_in_words(box: tuple[float, float, float, float], words: str) -> None:
    assert place(box) == words


def test_results_are_shown_whole_where_the_recipe_does_not_ask_for_brief_ones() -> None:
    voice = Voice(brief=False, thoughts="full")
    one = next(one for seed in range(20) if (one := built("detection", seed, voice=voice)))
    seen = next(turn for turn in one.turns if isinstance(turn, ObservationTurn)).observations[0]
    assert {"boxes", "logits", "phrases", "size"} <= seen.content.keys()
    plan = one.turns[1]
    assert isinstance(plan, AssistantTurn)
    assert "grounding_dino" in plan.output.thoughts
    assert plan.output.value


def test_marks_are_told_in_the_gateways_words() -> None:
    points, labels, boxes = [[0.123, 0.5], [0.9, 0.9]], [1, 0], [[0.1, 0.2, 0.333, 0.4]]
    marks = Marks.model_validate({"points": points, "point_labels": labels, "boxes": boxes})
    given = {Symbol.MASK: "img_" + "0" * 40, Symbol.REFERENCE_IMAGE: "img_" + "1" * 40}
    request = TurnRequest(text="Cut it out.", marks=marks, symbols=given)
    ours = with_marks("Cut it out.", {"points": points, "point_labels": labels, "boxes": boxes}, given)
    assert ours == question_text(request, Gallery())


@pytest.mark.parametrize("kind", PROMPTS)
def test_each_kind_of_question_has_an_answer_from_labels(kind: str) -> None:
    said = set()
    for seed in range(300):
        one = desk(seed)
        with suppress(NoResult):
            request = question(one)
            one.perform(request)
            said.add(str(request.actions[0].API_params["prompt"]).split()[0])
    assert PROMPTS[kind].split()[0] in said


def test_an_open_question_is_asked_in_the_words_of_the_message() -> None:
    as_typed = 0
    for seed in range(100):
        one = desk(seed)
        request = open_question(one)
        with pytest.raises(ChoiceMade):
            one.perform(request)
        as_typed += str(request.actions[0].API_params["prompt"]) in request.text
    assert as_typed > 80


@pytest.mark.parametrize(
    ("typed", "question"),
    [
        ("Hi, is it wet?", "is it wet?"),
        ("hello! whats the wether thanks!", "whats the wether"),
        ("Um, is it a toy? :)", "is it a toy?"),
        ("Is it windy?", "Is it windy?"),
    ],
)
def test_greetings_and_thanks_are_no_part_of_a_question(typed: str, question: str) -> None:
    assert unadorned(typed) == question


def test_a_question_about_an_absent_thing_is_answered_with_no() -> None:
    seen = ExactResults(SILENT).call(Asked("blip2", {"prompt": "is there a cat?"}, picture()))
    assert seen["caption"] == "no"
    assert ExactResults(SILENT).call(Asked("blip2", {"prompt": "is there a red car?"}, picture()))["caption"] == "yes"
    assert ExactResults(SILENT).call(Asked("blip2", {"prompt": "is there a blue car?"}, picture()))["caption"] == "no"


def test_exact_results_are_the_same_for_the_same_seed() -> None:
    noisy = ExactResults(Noise())
    asked = Asked("grounding_dino", {"caption": "dog . car"}, picture(), seed=5)
    assert noisy.call(asked) == noisy.call(asked)


def test_the_detector_finds_a_thing_by_its_colour() -> None:
    found = ExactResults(SILENT).call(Asked("grounding_dino", {"caption": "red car . blue car"}, picture()))
    assert found["phrases"] == ["red car"]


def test_what_labels_do_not_tell_is_no_result() -> None:
    for asked in (
        Asked("blip2", {"prompt": "who is she?"}, picture()),
        Asked("blip2", {}, LabelledPicture("bare.jpg", (8, 8))),
        Asked("grounding_dino", {"caption": "dog"}),
        Asked("sam", {"points": [[[0.99, 0.01]]]}, picture()),
        Asked("no_such_skill", {}, picture()),
    ):
        with pytest.raises(NoResult):
            ExactResults(SILENT).call(asked)
