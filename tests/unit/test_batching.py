from __future__ import annotations

import asyncio

import pytest

from services.core.batching import Batcher


class Recorder:
    """Answers items with themselves, a batch at a time, and holds each batch until `gate` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.started.set()
        await self.gate.wait()
        if -1 in items:
            raise ValueError("bad batch")
        return items


async def test_calls_that_wait_while_a_batch_runs_make_up_the_next_one() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.run, max_batch_size=4, wait_timeout_s=0.0)
    first = asyncio.create_task(batcher.submit(0))
    await recorder.started.wait()
    rest = [asyncio.create_task(batcher.submit(item)) for item in range(1, 7)]
    await asyncio.sleep(0)
    assert batcher.waiting == 6
    recorder.gate.set()
    assert await asyncio.gather(first, *rest) == list(range(7))
    assert recorder.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_a_batch_waits_to_fill_when_asked_to_and_goes_when_full() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.run, max_batch_size=3, wait_timeout_s=30.0)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(batcher.submit(item) for item in range(3))) == [0, 1, 2]
    assert recorder.batches == [[0, 1, 2]]


async def test_a_batch_that_does_not_fill_goes_after_its_wait() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.run, max_batch_size=3, wait_timeout_s=0.01)
    assert await batcher.submit(7) == 7
    assert recorder.batches == [[7]]


async def test_a_caller_that_gives_up_is_in_no_batch() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.run, max_batch_size=4, wait_timeout_s=0.0)
    first = asyncio.create_task(batcher.submit(0))
    await recorder.started.wait()
    quitter = asyncio.create_task(batcher.submit(1))
    stayer = asyncio.create_task(batcher.submit(2))
    await asyncio.sleep(0)
    quitter.cancel()
    recorder.gate.set()
    assert await asyncio.gather(first, stayer) == [0, 2]
    assert recorder.batches == [[0], [2]]


async def test_an_exception_reaches_every_caller_of_its_batch_and_no_other() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.run, max_batch_size=1, wait_timeout_s=0.0)
    good, bad, last = await asyncio.gather(*(batcher.submit(item) for item in (1, -1, 2)), return_exceptions=True)
    assert (good, last) == (1, 2)
    with pytest.raises(ValueError, match="bad batch"):
        raise bad  # type: ignore[misc]


async def test_a_batcher_can_be_used_again_after_it_ran_empty() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.run, max_batch_size=2, wait_timeout_s=0.0)
    assert [await batcher.submit(item) for item in (1, 2)] == [1, 2]
