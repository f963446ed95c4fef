"""The planner's Ray Serve deployment: vLLM's engine, fed with chat messages and pictures by handle.

It knows neither dialects nor skills: those belong to `planner.client`, which can then drive any other
engine in the same way. One code path for CPU and GPU; `deploy.build` wraps the class for Serve.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import structlog
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from planner.adapters import Adapter, AdapterRefused, AdapterRegistry, AdapterRequest, checked_folder, checked_request
from planner.chat import picture_names, prompt_text
from planner.wire import EngineChunk, EngineRequest
from services.core.errors import ImageNotFound
from services.core.images import ImageReader
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


class PlannerServer:
    """Streams text for `EngineRequest`s.

    Args:
        config: an `EngineConfig` as plain data.
        redis_url: where the pictures are.
    """

    def __init__(self, config: Mapping[str, Any], redis_url: str) -> None:
        import redis.asyncio

        self._config = EngineConfig.model_validate(config)
        os.environ.update(self._config.env)
        if self._config.single_process:
            # vLLM refuses its in-process executor on CPU unless its own multiprocessing is off; the engine
            # core stays a process of its own either way.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        if Path(self._config.model).is_dir():
            os.environ["HF_HUB_OFFLINE"] = "1"
        from vllm.exceptions import VLLMValidationError
        from vllm.v1.engine.async_llm import AsyncLLM

        self._refusal: type[Exception] = VLLMValidationError
        client = redis.asyncio.Redis.from_url(redis_url)
        self._images = ImageReader(client, self._config.image_cache_bytes_max)
        self._adapters = AdapterRegistry(client)
        self._engine = AsyncLLM.from_engine_args(_engine_args(self._config))
        self._tokenizer = self._engine.get_tokenizer()
        self._log = structlog.get_logger()
        self._warm = False
        self._log.info("planner_loaded", model=self._config.model)

    async def generate(self, wire: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream `EngineChunk`s (as plain data); the last one is final or an error.

        Closing the stream early aborts the generation.
        """
        request = EngineRequest.from_wire(wire)
        try:
            pictures = [await self._images.read(name) for name in picture_names(request.messages)]
        except ImageNotFound as error:
            yield EngineChunk(error="image_not_found", message=error.message).to_wire()
            return
        try:
            adapter = await self._adapter(request.adapter)
        except AdapterRefused as error:
            yield EngineChunk(error="adapter_not_found", message=str(error)).to_wire()
            return
        prompt: dict[str, Any] = {"prompt": prompt_text(self._tokenizer, request.messages)}
        if pictures:
            prompt["multi_modal_data"] = {"image": pictures}
        prompt_tokens = completion_tokens = cached_tokens = 0
        finish_reason = "stop"
        # One turn may call the planner several times under its one request id.
        unique_id = f"{request.request_id}-{uuid4().hex[:8]}"
        try:
            stream = self._engine.generate(
                prompt, _sampling(request, self._config.stop), unique_id, lora_request=_lora(adapter)
            )
            async with aclosing(stream) as outputs:
                async for output in outputs:
                    part = output.outputs[0]
                    prompt_tokens = len(output.prompt_token_ids or ()) or prompt_tokens
                    reserved = min(request.max_tokens, self._config.reply_tokens_min)
                    if prompt_tokens + reserved > self._config.max_model_len:
                        yield REFUSED.to_wire()
                        return
                    completion_tokens += len(part.token_ids)
                    cached_tokens = output.num_cached_tokens or cached_tokens
                    finish_reason = part.finish_reason or finish_reason
                    if part.text:
                        yield EngineChunk(text=part.text).to_wire()
        except (ValueError, self._refusal) as error:
            # vLLM's own validation: the prompt is longer than max_model_len, or has too many pictures.
            self._log.warning("prompt_refused", request_id=request.request_id, reason=str(error))
            yield REFUSED.to_wire()
            return
        yield EngineChunk(
            final=True,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=cached_tokens,
            finish_reason=finish_reason,
        ).to_wire()

    async def adapters(self, request: dict[str, Any]) -> dict[str, Any]:
        """What an administrator asks (`planner.adapters.AdapterRequest`).

        Returns:
            {"adapters": [...]}, all of them as they are afterwards, or {"refused": why}.
        """
        try:
            await self._change_adapters(request)
        except AdapterRefused as error:
            return {"refused": str(error)}
        return {"adapters": [adapter.model_dump(mode="json") for adapter in await self._adapters.all()]}

    async def _change_adapters(self, data: dict[str, Any]) -> None:
        request = checked_request(data)
        if request.do != "list" and not self._config.adapters_max:
            raise AdapterRefused("The planner was started without adapters: set planner.engine.adapters_max.")
        if request.do == "add":
            await self._add_adapter(request)
        elif request.do == "remove":
            removed = await self._adapters.remove(str(request.name))
            await self._engine.remove_lora(removed.number)
            self._log.info("adapter_removed", adapter=removed.name)
        elif request.do == "use":
            await self._adapters.use(request.name)
            self._log.info("adapter_in_use", adapter=request.name)

    async def _add_adapter(self, request: AdapterRequest) -> None:
        """Load it here first: what vLLM refuses never enters the list."""
        config = self._config
        folder, rank = await asyncio.to_thread(
            checked_folder, request.folder, config.adapter_rank_max, Path(config.model)
        )
        adapter = await self._adapters.new(str(request.name), str(folder), rank, request.skills)
        try:
            loaded = await self._engine.add_lora(_lora(adapter))
        except Exception as error:
            # vLLM's engine process reports whatever it met under a class of its own.
            self._log.warning("adapter_refused", adapter=adapter.name, exc_info=True)
            raise AdapterRefused(f"vLLM cannot load the adapter: {str(error).strip().splitlines()[-1]}") from error
        if not loaded:
            raise AdapterRefused("vLLM did not load the adapter: it does not fit the model.")
        await self._adapters.put(adapter, active=request.active)
        self._log.info("adapter_added", adapter=adapter.name, number=adapter.number, active=request.active)

    async def _adapter(self, name: str | None) -> Adapter | None:
        if not self._config.adapters_max:
            if name is not None:
                raise AdapterRefused("The planner was started without adapters: set planner.engine.adapters_max.")
            return None
        return await self._adapters.get(name)

    async def check_health(self) -> None:
        """Serve restarts the replica when this raises. The first check, which Serve makes before it sends
        anybody here, also runs a small generation: kernels, grammar and picture preprocessing are then warm.
        """
        await self._engine.check_health()
        if not self._warm:
            await self._warm_up()
            self._warm = True

    async def _warm_up(self) -> None:
        content = [{"type": "image_ref", "image_ref": ""}, {"type": "text", "text": "Hello"}]
        request = EngineRequest(
            messages=[{"role": "user", "content": content}],
            schema={"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]},
            max_tokens=8,
            temperature=0.0,
            seed=None,
            request_id="warm-up",
        )
        prompt = {
            "prompt": prompt_text(self._tokenizer, request.messages),
            "multi_modal_data": {"image": [Image.new("RGB", (64, 64))]},
        }
        async for _ in self._engine.generate(prompt, _sampling(request, ()), request.request_id):
            pass

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.shutdown()


def _engine_args(config: EngineConfig) -> AsyncEngineArgs:
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
        enable_log_requests=False,
        **options,
    )


def _lora(adapter: Adapter | None) -> Any:
    from vllm.lora.request import LoRARequest

    if adapter is None:
        return None
    return LoRARequest(adapter.engine_name, adapter.number, adapter.folder)


def _sampling(request: EngineRequest, stop: tuple[str, ...]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    structured = None
    if request.schema is not None:
        structured = StructuredOutputsParams(json=request.schema, disable_any_whitespace=True)
    return SamplingParams(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=list(stop),
        structured_outputs=structured,
        output_kind=RequestOutputKind.DELTA,
    )
