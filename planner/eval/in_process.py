"""The embedded planner on vLLM in this process: the engine and the structured output of service, without a platform."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image

from planner.chat import picture_names
from planner.eval.local import local_picture
from planner.eval.weights import complete
from planner.model import WEIGHTS, ensure_embedded
from planner.vllm_text import EngineConfig, VllmText
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from services.core.precision import native_dtype

AT_ONCE = 16
"""Calls that are decoded together: a processor reads the weights once for all of them."""

_KV_CACHE_BYTES = 512 * 2**20
_ENVIRONMENT = {
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait stall each other on a busy machine
    "VLLM_LOGGING_LEVEL": "ERROR",
}


class InProcessEngine:
    """Implements `planner.client.Engine`.

    Args:
        pictures: from a handle to the picture's bytes; without it, handles are names for `planner.eval.local`.
    """

    def __init__(self, text: VllmText, pictures: Callable[[str], Awaitable[bytes]] | None = None) -> None:
        self._text = text
        self._pictures = pictures

    async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        """See `planner.client.Engine.generate`."""
        shown = [await self._read(name) for name in picture_names(request.messages)]
        async for chunk in self._text.stream(request, shown):
            yield chunk

    async def ready(self) -> bool:
        return True

    async def _read(self, name: str) -> Image.Image:
        if self._pictures is None:
            return await asyncio.to_thread(local_picture, name)
        opened = Image.open(BytesIO(await self._pictures(name)))
        return await asyncio.to_thread(opened.convert, "RGB")


@asynccontextmanager
async def opened_engine(
    weights: Path = WEIGHTS, pictures: Callable[[str], Awaitable[bytes]] | None = None
) -> AsyncIterator[InProcessEngine]:
    """The engine with the adapter of `weights` merged, for the time of a block; about half a minute to start."""
    dtype = native_dtype()
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="planner-") as folder:
        whole = await asyncio.to_thread(complete, weights, Path(folder) / "weights")
        model = await asyncio.to_thread(ensure_embedded, Path(folder), dtype=dtype, weights=whole)
        config = EngineConfig(
            model=str(model),
            dtype=dtype,
            max_num_seqs=AT_ONCE,
            kv_cache_bytes=_KV_CACHE_BYTES,
            single_process=True,
            env=_ENVIRONMENT,
        )
        text = VllmText(config)
        try:
            yield InProcessEngine(text, pictures)
        finally:
            text.shutdown()
            del text.engine  # vLLM's own cleaning up fails once the interpreter ends
            os.environ.clear()
            os.environ.update(before)
