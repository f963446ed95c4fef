"""Training input of the embedded planner: the loss counts exactly where the planner writes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from planner.chat import prompt_text
from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, UserTurn
from planner.data.embedded import CALL
from planner.dialects.json_dialect import JsonDialect
from planner.format import PlannerOutput
from planner.language_model import IMAGE_TOKEN_ID, STOP_TOKEN_ID
from planner.train.config import TrainConfig
from planner.train.encode import Encoded, Encoder
from services.core.registry import discover

pytest.importorskip("torch")
pytest.importorskip("transformers")
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


def test_the_token_that_decides_between_call_and_answer_weighs_more() -> None:
    sample = encoded()
    heavy = [tokenizer().decode([i]) for i, w in zip(sample.ids, sample.weights, strict=True) if w == 6.0]
    assert heavy == ["Read", "The", "Read"]


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


def test_the_committed_recipe_is_valid() -> None:
    config = TrainConfig.load(Path("planner/train/configs/embedded.yaml"))
    assert config.skills == ("easyocr",)


def test_batches_have_the_configured_shapes_and_come_again_the_same(tmp_path: Path) -> None:
    from planner.train.batches import batch_size, batches

    config = TrainConfig(
        weights=tmp_path, run=tmp_path, skills=("easyocr",), samples=60, pool=30, lengths=(128, 256), batch_tokens=512
    )
    encoder = Encoder(tokenizer(), JsonDialect(), [TOOL], picture_tokens=16, choice_weight=6.0)
    first, second = (list(batches(config, encoder, side=8)) for _ in range(2))
    assert first
    assert all(batch.ids.shape == (batch_size(config, batch.ids.shape[1]), batch.ids.shape[1]) for batch in first)
    assert all(batch.weights[:, 1:].sum() > 0 for batch in first)
    assert all((a.ids == b.ids).all() for a, b in zip(first, second, strict=True))
    for batch in first:
        pictures = 0 if batch.pixels is None else batch.pixels.shape[0]
        assert int((batch.ids == IMAGE_TOKEN_ID).sum()) == 16 * pictures
