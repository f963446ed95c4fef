"""The planner's Ray Serve deployment: vLLM's engine, fed with chat messages and pictures by handle.

It knows neither dialects nor skills: those belong to `planner.client`, which can then drive any other
engine in the same way. `deploy.build` wraps the class for Serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import structlog

from planner.adapters import Adapter, AdapterRefused, AdapterRegistry, AdapterRequest, checked_folder, checked_request
from planner.chat import picture_names
from planner.vllm_text import EngineConfig, VllmText, lora
from planner.wire import EngineChunk, EngineRequest
from services.core.errors import ImageNotFound
from services.core.images import ImageReader

__all__ = ["EngineConfig", "PlannerServer"]


class PlannerServer:
    """Streams text for `EngineRequest`s.

    Args:
        config: an `EngineConfig` as plain data.
        redis_url: where the pictures are.
    """

    def __init__(self, config: Mapping[str, Any], redis_url: str) -> None:
        import redis.asyncio

        self._config = EngineConfig.model_validate(config)
        self._text = VllmText(self._config)
        client = redis.asyncio.Redis.from_url(redis_url)
        self._images = ImageReader(client, self._config.image_cache_bytes_max)
        self._adapters = AdapterRegistry(client)
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
        async with aclosing(self._text.stream(request, pictures, adapter)) as chunks:
            async for chunk in chunks:
                yield chunk.to_wire()

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
            await self._text.engine.remove_lora(removed.number)
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
            loaded = await self._text.engine.add_lora(lora(adapter))
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
        await self._text.engine.check_health()
        if not self._warm:
            await self._text.warm_up()
            self._warm = True

    def __del__(self) -> None:
        # Given up here, the engine is gone before the interpreter's end, when it could not be ended in order.
        text = self.__dict__.pop("_text", None)
        if text is not None:
            text.shutdown()
