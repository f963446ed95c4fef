"""The embedded planner without a server, for scoring.

A picture's name is "file:PATH", or anything else, from which a picture is made up.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from planner.chat import picture_names, prompt_text
from planner.conversation import Conversation
from planner.dialects.base import ChatMessage
from planner.dialects.json_dialect import JsonDialect
from planner.eval.journal import fingerprint
from planner.format import PlannerOutput, UnparsableOutput
from planner.model import WEIGHTS, DType, ensure_embedded, load_model, picture_tokens, processor
from planner.train.pictures import noise
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from services.core.registry import discover

MAX_NEW_TOKENS = 500
_FILE = "file:"


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote; `cut` says that the limit ended it."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: bool


class Writer(Protocol):
    """A model in this process."""

    def complete(self, messages: Sequence[ChatMessage], schema: dict[str, Any] | None, max_tokens: int) -> Written:
        """Continue a chat, greedily; `schema` binds the reply where the engine can be bound."""
        ...


class LocalEngine:
    """Implements `planner.client.Engine` with a model in this process, one request at a time.

    Args:
        pictures: from a handle to the picture's bytes; without it, handles are names as this module reads them.
    """

    def __init__(self, writer: Writer, pictures: Callable[[str], Awaitable[bytes]] | None = None) -> None:
        self._writer = writer
        self._pictures = pictures
        self._busy = asyncio.Lock()

    async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        """See `planner.client.Engine.generate`; everything comes in one piece."""
        async with self._busy:
            with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
                messages = await self._on_disk(request.messages, Path(folder)) if self._pictures else request.messages
                written = await asyncio.to_thread(self._writer.complete, messages, request.schema, request.max_tokens)
        yield EngineChunk(text=written.text)
        yield EngineChunk(
            final=True,
            prompt_tokens=written.prompt_tokens,
            completion_tokens=written.completion_tokens,
            finish_reason="length" if written.cut else "stop",
        )

    async def ready(self) -> bool:
        return True

    async def _on_disk(self, messages: Sequence[ChatMessage], folder: Path) -> list[ChatMessage]:
        """The messages with the names of files in the place of handles."""
        assert self._pictures is not None
        named: dict[str, str] = {}
        for handle in picture_names(messages):
            path = folder / fingerprint(handle)
            await asyncio.to_thread(path.write_bytes, await self._pictures(handle))
            named[handle] = f"{_FILE}{path}"
        return [
            message
            if isinstance(message["content"], str)
            else message
            | {
                "content": [
                    part | {"image_ref": named[part["image_ref"]]} if part["type"] == "image_ref" else part
                    for part in message["content"]
                ]
            }
            for message in messages
        ]


class TransformersPlanner:
    """Greedy decoding, one conversation at a time, without any constraint on the format."""

    def __init__(self, weights: Path = WEIGHTS, dtype: DType = "float32", skills: Sequence[str] = ("easyocr",)) -> None:
        import torch

        self._dtype = getattr(torch, dtype)
        self._model = load_model(weights).to(self._dtype)
        self._processor: Any = processor(weights)
        self._tokenizer: Any = self._processor.tokenizer
        self._picture_tokens = picture_tokens(weights)
        self._dialect = JsonDialect(skills)
        registry = discover()
        self._tools = [registry.spec(name) for name in skills]

    def ask(self, conversations: Sequence[Conversation]) -> list[PlannerOutput | None]:
        """What the planner says next; None where the model left the format."""
        return [_parsed(self._dialect, self.write(conversation)) for conversation in conversations]

    def write(self, conversation: Conversation) -> str:
        """The raw text of the planner's next turn."""
        return self.complete(self._dialect.messages(conversation, self._tools), None, MAX_NEW_TOKENS).text

    def complete(self, messages: Sequence[ChatMessage], schema: dict[str, Any] | None, max_tokens: int) -> Written:
        """See `Writer`; nothing is bound here."""
        import torch

        prompt = prompt_text(self._tokenizer, messages).replace("<image>", "<image>" * self._picture_tokens)
        inputs = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        names = picture_names(messages)
        if names:
            inputs["pixel_values"] = torch.stack([self._pixels(name) for name in names]).to(self._dtype)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            written = self._model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        length = inputs["input_ids"].shape[1]
        new = written[0, length:]
        ended = int(new[-1]) in _ids(self._model.generation_config.eos_token_id)
        text = str(self._tokenizer.decode(new, skip_special_tokens=True))
        return Written(text, int(length), len(new), cut=len(new) >= max_tokens and not ended)

    def _pixels(self, name: str) -> Any:
        if name.startswith(_FILE):
            shown = local_picture(name)
            return self._processor.image_processor(images=shown, return_tensors="pt")["pixel_values"][0]
        return noise(name, self._model.config.vision_config.image_size)


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
        self._dialect = JsonDialect(skills)
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
        return prompt | ({"multi_modal_data": {"image": [local_picture(name) for name in names]}} if names else {})


def _ids(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]


def local_picture(name: str) -> Any:
    """The file, or `noise` as a picture that still has to be preprocessed."""
    from PIL import Image

    if name.startswith(_FILE):
        with Image.open(name.removeprefix(_FILE)) as opened:
            return opened.convert("RGB")
    pixels = ((noise(name, 64).clamp(-2, 2) + 2) * 63).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)


def _parsed(dialect: JsonDialect, text: str) -> PlannerOutput | None:
    try:
        return dialect.parse(text)
    except UnparsableOutput:
        return None
