from __future__ import annotations

import asyncio
import threading

import pytest

from services.core.handles import AppStatus


async def test_a_controller_that_hangs_is_asked_once_and_answers_those_who_still_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, asked = threading.Event(), []

    def running_apps() -> frozenset[str]:
        asked.append(1)
        gate.wait(10)
        return frozenset({"easyocr"})

    monkeypatch.setattr("services.core.handles._running_apps", running_apps)
    status = AppStatus()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await status.ready()
    gate.set()
    assert await status.ready() == {"easyocr"}
    assert len(asked) == 1


async def test_an_answer_is_asked_for_again_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([frozenset[str](), frozenset({"easyocr"})])
    monkeypatch.setattr("services.core.handles._running_apps", lambda: next(answers))
    status = AppStatus(max_age_s=0.0)
    assert await status.ready() == frozenset()
    assert await status.ready() == {"easyocr"}
