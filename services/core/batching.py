"""Dynamic batching: calls that wait while a batch runs make up the next one.

`ray.serve.batch` does the same, but only inside a Serve replica; a skill server must also run without
Ray (tests, one process on a GPU machine). With a wait of 0 a single caller pays nothing for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class Batcher(Generic[ItemT, AnswerT]):
    """Collects items and hands them to `run`, one batch at a time, in order of arrival.

    Args:
        run: answers a batch, one answer an item, in order; what it raises reaches every caller of the batch.
        max_batch_size: most items in one batch.
        wait_timeout_s: how long a batch that is not full waits for more, seconds.
    """

    def __init__(
        self, run: Callable[[list[ItemT]], Awaitable[Sequence[AnswerT]]], max_batch_size: int, wait_timeout_s: float
    ) -> None:
        self._run = run
        self._max_batch_size = max_batch_size
        self._wait_timeout_s = wait_timeout_s
        self._queue: deque[tuple[ItemT, asyncio.Future[AnswerT]]] = deque()
        self._filled = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Items that are in no batch yet."""
        return len(self._queue)

    async def submit(self, item: ItemT) -> AnswerT:
        """The answer for `item`. A caller that is cancelled while waiting takes its item out of the queue."""
        future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if len(self._queue) >= self._max_batch_size:
            self._filled.set()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._fill()
                batch = self._take()
                if batch:
                    await self._answer(batch)
        finally:
            self._worker = None

    async def _fill(self) -> None:
        if self._wait_timeout_s <= 0 or len(self._queue) >= self._max_batch_size:
            return
        self._filled.clear()
        try:
            await asyncio.wait_for(self._filled.wait(), self._wait_timeout_s)
        except TimeoutError:
            return

    def _take(self) -> list[tuple[ItemT, asyncio.Future[AnswerT]]]:
        batch: list[tuple[ItemT, asyncio.Future[AnswerT]]] = []
        while self._queue and len(batch) < self._max_batch_size:
            item, future = self._queue.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _answer(self, batch: list[tuple[ItemT, asyncio.Future[AnswerT]]]) -> None:
        try:
            answers = await self._run([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed on to every caller
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
