"""vLLM's engine around one model: chat messages and decoded pictures in, streamed text out.

One code path for CPU and GPU, for service (`planner.engine`) and for scoring (`planner.eval.in_process`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import structlog
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from planner.adapters import Adapter
from planner.chat import prompt_text
from planner.wire import EngineChunk, EngineRequest
from services.core.precision import native_dtype

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

REFUSED = EngineChunk(
    error="prompt_refused",
    message="The planner cannot take this conversation: it is too long, or has too many pictures.",
)


class EngineConfig(BaseModel):
    """What vLLM is started with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="Local folder or hub id of a LLaVA-architecture model.")
    dtype: Literal["auto", "native", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Weights and activations. auto: as the model is stored; native: bfloat16 on a CPU that computes in "
        "it (twice as fast there), float32 on one that does not (where bfloat16 is several times slower).",
    )
    max_model_len: int = Field(2048, ge=256, description="Longest prompt and reply together, tokens.")
    max_num_seqs: int = Field(8, ge=1, description="Most calls decoded at the same time.")
    kv_cache_bytes: int | None = Field(None, description="Memory for the KV cache; vLLM's own choice when absent.")
    reply_tokens_min: int = Field(
        256, ge=1, description="Room that a prompt must leave for the reply (less if the call asks for less), tokens."
    )
    images_per_prompt_max: int = Field(8, ge=1, description="Most pictures in one prompt.")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share one replica's weights.")
    stop: tuple[str, ...] = Field((), description="Texts that end a reply besides the stop token (Vicuna v0: `###`).")
    adapters_max: int = Field(
        0,
        ge=0,
        description="LoRA adapters that can answer at the same time; 0 serves the model alone, a little faster.",
    )
    adapter_rank_max: Literal[8, 16, 32, 64, 128, 256] = Field(16, description="Largest rank of an adapter.")
    enforce_eager: bool = Field(True, description="Skip graph capture and compilation: slower steps, quicker start.")
    image_cache_bytes_max: int = Field(64 * 2**20, ge=0, description="Decoded-picture cache, bytes of pixels.")
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables that vLLM reads.")
    single_process: bool = Field(
        False, description="Run vLLM's worker inside its engine process: less memory, for one-device CPU replicas."
    )


class VllmText:
    """A running engine; starting it takes a while."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        os.environ.update(config.env)
        if config.single_process:
            # vLLM refuses its in-process executor on CPU unless its own multiprocessing is off; the engine
            # core stays a process of its own either way.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        if Path(config.model).is_dir():
            os.environ["HF_HUB_OFFLINE"] = "1"
        from vllm.exceptions import VLLMValidationError
        from vllm.v1.engine.async_llm import AsyncLLM

        self._refusal: type[Exception] = VLLMValidationError
        self.engine: Any = AsyncLLM.from_engine_args(_engine_args(config))
        self._tokenizer = self.engine.get_tokenizer()
        self._log = structlog.get_logger()

    async def stream(
        self, request: EngineRequest, pictures: Sequence[Image.Image], adapter: Adapter | None = None
    ) -> AsyncGenerator[EngineChunk, None]:
        """Chunks of text, then a final one or a refusal. Closing the stream early aborts the generation."""
        prompt: dict[str, Any] = {"prompt": prompt_text(self._tokenizer, request.messages)}
        if pictures:
            prompt["multi_modal_data"] = {"image": list(pictures)}
        prompt_tokens = completion_tokens = cached_tokens = 0
        finish_reason = "stop"
        # One turn may call the planner several times under its one request id.
        unique_id = f"{request.request_id}-{uuid4().hex[:8]}"
        sampling = _sampling(request, self.config.stop)
        try:
            stream = self.engine.generate(prompt, sampling, unique_id, lora_request=lora(adapter))
            async with aclosing(stream) as outputs:
                async for output in outputs:
                    part = output.outputs[0]
                    prompt_tokens = len(output.prompt_token_ids or ()) or prompt_tokens
                    reserved = min(request.max_tokens, self.config.reply_tokens_min)
                    if prompt_tokens + reserved > self.config.max_model_len:
                        yield REFUSED
                        return
                    completion_tokens += len(part.token_ids)
                    cached_tokens = output.num_cached_tokens or cached_tokens
                    finish_reason = part.finish_reason or finish_reason
                    if part.text:
                        yield EngineChunk(text=part.text)
        except (ValueError, self._refusal) as error:
            # vLLM's own validation: the prompt is longer than max_model_len, or has too many pictures.
            self._log.warning("prompt_refused", request_id=request.request_id, reason=str(error))
            yield REFUSED
            return
        yield EngineChunk(
            final=True,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=cached_tokens,
            finish_reason=finish_reason,
        )

    async def warm_up(self) -> None:
        """A small generation: kernels, grammar and picture preprocessing are warm after it."""
        content = [{"type": "image_ref", "image_ref": ""}, {"type": "text", "text": "Hello"}]
        request = EngineRequest(
            messages=[{"role": "user", "content": content}],
            schema={"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]},
            max_tokens=8,
            temperature=0.0,
            seed=None,
            request_id="warm-up",
        )
        async for _ in self.stream(request, [Image.new("RGB", (64, 64))]):
            pass

    def shutdown(self) -> None:
        """End the engine's process."""
        self.engine.shutdown()


def _engine_args(config: EngineConfig) -> AsyncEngineArgs:
    """vLLM's arguments. It forbids spaces between JSON's parts for all calls or none, and only of a backend that is
    named; without that a small model may write line ends until it is cut. Of the two that can, guidance takes more of
    JSON Schema: a skill of somebody else's may need it.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    options: dict[str, Any] = {}
    if config.kv_cache_bytes is not None:
        options["kv_cache_memory_bytes"] = config.kv_cache_bytes
    if config.adapters_max:
        options |= {
            "enable_lora": True,
            "max_loras": config.adapters_max,
            "max_lora_rank": config.adapter_rank_max,
        }
    return AsyncEngineArgs(
        model=config.model,
        dtype=native_dtype() if config.dtype == "native" else config.dtype,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        tensor_parallel_size=config.tensor_parallel_size,
        enforce_eager=config.enforce_eager,
        enable_prefix_caching=True,
        limit_mm_per_prompt={"image": config.images_per_prompt_max},
        structured_outputs_config={"backend": "guidance", "disable_any_whitespace": True},
        enable_log_requests=False,
        **options,
    )


def lora(adapter: Adapter | None) -> Any:
    """The adapter as vLLM takes it."""
    from vllm.lora.request import LoRARequest

    if adapter is None:
        return None
    return LoRARequest(adapter.engine_name, adapter.number, adapter.folder)


def _sampling(request: EngineRequest, stop: tuple[str, ...]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    structured = None
    if request.schema is not None:
        structured = StructuredOutputsParams(json=request.schema)
    return SamplingParams(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=list(stop),
        structured_outputs=structured,
        output_kind=RequestOutputKind.DELTA,
    )
