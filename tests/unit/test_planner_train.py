"""Training input of the embedded planner: the loss counts exactly where the planner writes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.chat import prompt_text
from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, UserTurn
from planner.data.embedded import CALL
from planner.dialects.json_dialect import JsonDialect
from planner.format import PlannerOutput
from planner.language_model import IMAGE_TOKEN_ID, STOP_TOKEN_ID
from planner.train.config import ConfigError, TrainConfig
from planner.train.encode import Encoded, Encoder
from planner.train.forms import form_named
from planner.train.plan import plan
from services.core.registry import discover

pytest.importorskip("torch")
pytest.importorskip("transformers")
CONFIGS = Path("planner/train/configs")
WHOLE = {*CONFIGS.glob("*.yaml"), *CONFIGS.glob("llava_plus/*.yaml")} - {CONFIGS / "plug.yaml"}
TOOL = discover().spec("easyocr")
TEXT = 'SALE!\n50% off "everything"'
FOUND = Observation(skill="easyocr", content={"text": TEXT})
ANSWER = PlannerOutput(thoughts="The text is read.", value=f"It says:\n{TEXT}")
CONVERSATION: Conversation = (
    UserTurn(text="What does it say?", images=("noise:1",)),
    AssistantTurn(output=CALL),
    ObservationTurn(observations=(FOUND,), question="What does it say?"),
    AssistantTurn(output=ANSWER),
    UserTurn(text="And this?", images=("noise:2",)),
    AssistantTurn(output=CALL),
)


@cache
def tokenizer() -> Any:
    from planner.language_model import find_gguf, tokenizer
    from services.core.errors import SkillFailed

    try:
        find_gguf()
    except SkillFailed as error:
        pytest.skip(error.message)
    return tokenizer()


def encoded(conversation: Conversation = CONVERSATION) -> Encoded:
    return Encoder(tokenizer(), JsonDialect(), [TOOL], picture_tokens=16, choice_weight=6.0).encode(conversation)


def test_the_loss_counts_on_what_the_planner_writes_and_its_stop_token_only() -> None:
    sample = encoded()
    written = tokenizer().decode([i for i, w in zip(sample.ids, sample.weights, strict=True) if w])
    dialect = JsonDialect()
    call, answer = dialect.render(CALL), dialect.render(ANSWER)
    assert written == f"{call}<|im_end|>{answer}<|im_end|>{call}<|im_end|>"


def test_tokens_that_decide_between_call_and_answer_and_between_tools_weigh_more() -> None:
    sample = encoded()
    heavy = [tokenizer().decode([i]) for i, w in zip(sample.ids, sample.weights, strict=True) if w == 6.0]
    chosen = ["Read", '{"', "easy", "ocr", '","']
    assert heavy == [*chosen, "The", "]", *chosen]


def test_training_tokens_are_the_serving_prompts_tokens_and_then_the_target() -> None:
    tok, dialect = tokenizer(), JsonDialect()
    for end in (2, 4, 6):
        prompt = prompt_text(tok, dialect.messages(CONVERSATION[: end - 1], [TOOL]))
        served = tok(prompt.replace("<image>", "<image>" * 16), add_special_tokens=False).input_ids
        last = CONVERSATION[end - 1]
        assert isinstance(last, AssistantTurn)
        target = tok(dialect.render(last.output), add_special_tokens=False).input_ids
        assert encoded(CONVERSATION[:end]).ids == [*served, *target, STOP_TOKEN_ID]


def test_each_picture_is_its_full_run_of_tokens_and_named_in_order() -> None:
    sample = encoded()
    assert sample.ids.count(IMAGE_TOKEN_ID) == 32
    assert sample.pictures == ["noise:1", "noise:2"]


def test_the_text_to_copy_is_the_same_run_of_characters_in_result_and_answer() -> None:
    prompt = prompt_text(tokenizer(), JsonDialect().messages(CONVERSATION[:3], [TOOL]))
    escaped = json.dumps(TEXT)[1:-1]
    assert escaped in prompt
    assert escaped in JsonDialect().render(ANSWER)


def test_the_tokenizer_keeps_the_vocabulary_and_names_the_image_token() -> None:
    tok = tokenizer()
    assert len(tok) == 49152
    assert tok.convert_tokens_to_ids("<image>") == IMAGE_TOKEN_ID
    assert tok.eos_token_id == tok.pad_token_id == STOP_TOKEN_ID
    assert tok.decode(tok("Hello, 12 wörld!\n").input_ids) == "Hello, 12 wörld!\n"


def test_the_chat_template_adds_nothing_of_its_own() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": [{"type": "image_ref", "image_ref": "x"}, {"type": "text", "text": " a\n"}]},
        {"role": "assistant", "content": "b"},
    ]
    expected = (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<image>\n a\n<|im_end|>\n"
        "<|im_start|>assistant\nb<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt_text(tokenizer(), messages) == expected


@pytest.mark.parametrize("path", sorted(WHOLE), ids=lambda path: path.stem)
def test_the_committed_configurations_are_valid(path: Path) -> None:
    assert TrainConfig.load(path).data


def test_a_cut_sample_ends_where_its_first_plan_has_chosen() -> None:
    encoder = Encoder(tokenizer(), JsonDialect(), [TOOL], picture_tokens=16)
    called = encoder.encode(CONVERSATION, cut=True)
    answered = encoder.encode((UserTurn(text="Hello"), AssistantTurn(output=PlannerOutput(value="Hi."))), cut=True)

    def written(sample: Encoded) -> str:
        return str(tokenizer().decode([i for i, w in zip(sample.ids, sample.weights, strict=True) if w]))

    assert written(called) == '{"thoughts":"Read the text.","actions":[{"API_name":"easyocr"'
    assert called.pictures == ["noise:1"]
    assert written(answered) == '{"thoughts":"","actions":[]'


def test_all_tools_gives_results_before_the_question_in_servings_words_and_leaves_answers() -> None:
    from gateway.orchestrator.question import with_findings
    from planner.train.samples import all_tools

    seen = Observation(skill="ram", content={"tags": ["sign"]})
    own = all_tools(CONVERSATION, {})
    assert own == (
        UserTurn(text=with_findings("What does it say?", [FOUND], 10_000), images=("noise:1",)),
        AssistantTurn(output=ANSWER),
    )
    known = all_tools(CONVERSATION, {"noise:1": [FOUND, seen]})
    first = known[0]
    assert isinstance(first, UserTurn)
    assert first.text == with_findings("What does it say?", [FOUND, seen], 10_000)


def test_llavas_own_answers_get_no_thoughts_and_no_actions() -> None:
    from planner.train.samples import conversation

    asked = {"from": "human", "value": "<image>\nWhat is it?"}
    sample = {"image": "a.png", "conversations": [asked, {"from": "gpt", "value": "A cat."}]}
    assert conversation(sample) == (
        UserTurn(text="What is it?", images=("a.png",)),
        AssistantTurn(output=PlannerOutput(value="A cat.")),
    )


def test_reasoning_comes_before_the_answer_in_plain_text() -> None:
    answered = PlannerOutput(thoughts="Because it is round.", value="The answer is B.")
    sample = Encoder(tokenizer(), form_named("text"), [], picture_tokens=16).encode(
        (UserTurn(text="Which?"), AssistantTurn(output=answered))
    )
    text = tokenizer().decode(sample.ids)
    assert text == (
        "<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\nBecause it is round.\nThe answer is B.<|im_end|>"
    )


@pytest.mark.parametrize("line_end", ["\u2028", "\u0085", "\x1e"])
def test_characters_that_end_lines_of_text_end_no_line_of_json(tmp_path: Path, line_end: str) -> None:
    from planner.train.samples import json_rows

    samples = [{"id": number, "value": f"one{line_end}two"} for number in range(2)]
    text = "\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples)
    (tmp_path / "data.jsonl").write_text(text, encoding="utf-8")
    assert json_rows(tmp_path / "data.jsonl") == samples


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"conversations": [{"from": "human", "value": "<image>\nHi"}]}, "Sample 'x' .* more <image> marks"),
        ({"conversations": [{"from": "human"}]}, "Sample 'x' .* it has no 'value'"),
        ({"conversations": [{"from": "gpt", "value": "Hi", "actions": ["easyocr"]}]}, "Sample 'x' .* actions"),
    ],
)
def test_a_sample_in_another_form_is_named(sample: dict[str, Any], message: str) -> None:
    from planner.train.samples import conversation

    with pytest.raises(ConfigError, match=message):
        conversation({"id": "x"} | sample)


def test_stage_1_needs_a_picture_and_its_text() -> None:
    from planner.train.samples import caption

    answer = {"from": "gpt", "value": "A cat."}
    pair = {"id": "p", "image": "a.png", "conversations": [{"from": "human", "value": "Describe it.\n<image>"}, answer]}
    assert caption(pair) == ("a.png", "A cat.")
    with pytest.raises(ConfigError, match="Sample 'p' is no picture with a text"):
        caption(pair | {"conversations": [{"from": "human", "value": "Describe it."}, answer]})


def test_science_qa_of_both_splits_finds_its_pictures_and_an_unknown_split_is_named(tmp_path: Path) -> None:
    from planner.train.config import Source
    from planner.train.samples import load

    problem = {"question": "Which?", "choices": ["a", "b"], "answer": 0, "image": "image.png"}
    problems = {name: problem | {"split": split} for name, split in (("1", "train"), ("2", "val"))}
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    (tmp_path / "pid_splits.json").write_text(json.dumps({"trainval": ["1", "2"]}))
    for name, split in (("1", "train"), ("2", "val")):
        (tmp_path / "images" / split / name).mkdir(parents=True)
        (tmp_path / "images" / split / name / "image.png").write_bytes(b"")
    found = load([Source(science_qa=tmp_path, split="trainval")], seed=1)
    assert [Path(loaded.sample["image"]).parts[-3:-1] for loaded in found] == [("train", "1"), ("val", "2")]
    with pytest.raises(ConfigError, match="no split 'tests': it has trainval"):
        load([Source(science_qa=tmp_path, split="tests")], seed=1)


def test_science_qa_is_asked_as_it_is_scored_and_answered_after_the_reasoning(tmp_path: Path) -> None:
    from planner.eval.benchmarks.science_qa import ScienceQa, stated
    from planner.train.samples import conversation
    from planner.train.science_qa import samples

    problem = {
        "question": "Which is a bird?",
        "choices": ["cat", "owl"],
        "answer": 1,
        "hint": "",
        "image": "image.png",
        "grade": "grade3",
        "subject": "natural science",
        "lecture": "Birds have feathers.",
        "solution": "An owl has feathers.",
    }
    (tmp_path / "problems.json").write_text(json.dumps({"7": problem}))
    (tmp_path / "pid_splits.json").write_text(json.dumps({"train": ["7"]}))
    picture = tmp_path / "images" / "train" / "7" / "image.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"")
    (sample,) = samples(tmp_path, "train")
    (question,) = ScienceQa.read(tmp_path, "train").questions()
    asked, answered = conversation(sample)
    assert asked == UserTurn(text=question.text, images=(str(picture.resolve()),))
    assert isinstance(answered, AssistantTurn)
    written = form_named("text").render(answered.output)
    assert written == "Birds have feathers.\nAn owl has feathers.\nThe answer is B."
    assert stated(written) == "B"


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60),
    epochs=st.integers(1, 2),
    packing=st.booleans(),
    seed=st.integers(0, 5),
)
def test_each_sample_that_fits_is_seen_once_an_epoch_in_rows_with_room_for_it(
    lengths: list[int], epochs: int, packing: bool, seed: int
) -> None:
    bounds = [64] if packing else [32, 64]
    config = TrainConfig.model_validate(
        {
            "run": "r",
            "output": "o",
            "model": "m",
            "data": [{"path": "d"}],
            "lengths": bounds,
            "batch_tokens": 128,
            "pool": 16,
            "epochs": epochs,
            "packing": packing,
            "seed": seed,
        }
    )
    batches = plan(lengths, config)
    rows = [row for batch in batches for row in batch]
    seen = sorted(number for row in rows for number in row.samples)
    assert seen == sorted([number for number, length in enumerate(lengths) if length <= 64] * epochs)
    assert all(sum(lengths[number] for number in row.samples) <= row.length for row in rows)
    assert all(sum(row.length for row in batch) <= 128 for batch in batches)
    assert all(len({row.length for row in batch}) == 1 for batch in batches)
    assert packing or all(len(row.samples) == 1 for row in rows)
    assert plan(lengths, config) == batches
    shapes = {(len(batch), batch[0].length) for batch in batches}
    assert packing or len(shapes) <= len(bounds) + 2 * epochs  # a compiled model is compiled anew for each


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"language": "frozen"}, "nothing is trained"),
        ({"packing": True, "lengths": [64, 128]}, "one in `lengths`"),
        ({"data": [{"path": "a", "generate": "reading"}]}, "data.0: .*either `path`, `generate`"),
        ({"batch_tokens": 8}, "longer than `batch_tokens`"),
        ({"learning_rat": 1}, "learning_rat"),
    ],
)
def test_a_mistake_in_a_configuration_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"run": "r", "output": "o", "model": "m", "data": [{"path": "d"}], "lengths": [64]}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(good | change))
    with pytest.raises(ConfigError, match=message):
        TrainConfig.load(path)
