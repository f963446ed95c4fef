"""Answers to a benchmark's questions: from a running platform, from a bare model, or from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from planner.eval.benchmarks.endpoint import Endpoint, image_part
from planner.eval.gateway import GatewayClient
from planner.eval.journal import Journal, fingerprint
from planner.eval.parallel import each


@dataclass(frozen=True)
class Question:
    """One question with its picture, where it has one."""

    id: str
    text: str
    image: Path | None = None


class Answerer(Protocol):
    """Whatever is scored."""

    async def answer(self, question: Question) -> str: ...


class PlatformAnswerer:
    """A running platform: LLaVA-Plus itself. `mode` is the paper's Fly or All Tools."""

    def __init__(self, client: GatewayClient, mode: str | None = None) -> None:
        self._client = client
        self._mode = mode

    async def answer(self, question: Question) -> str:
        parts = [image_part(question.image)] if question.image else []
        reply = await self._client.chat(question.text, parts, mode=self._mode)
        return reply.answer or reply.error


class ModelAnswerer:
    """A model behind an OpenAI-compatible endpoint, without tools: the papers' LLaVA, or GPT-4."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def answer(self, question: Question) -> str:
        parts = [image_part(question.image)] if question.image else []
        return await self._endpoint.text(
            [{"role": "user", "content": [*parts, {"type": "text", "text": question.text}]}]
        )


async def answers_to(
    questions: Sequence[Question],
    answerer: Answerer,
    journal: Journal,
    *,
    at_once: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, str]:
    """Ask what the journal does not have yet; the answers by question."""
    waiting = [question for question in questions if question.id not in journal]

    async def ask(question: Question) -> None:
        journal.keep(question.id, {"text": await answerer.answer(question)})

    await each(waiting, ask, at_once=at_once, known=len(questions) - len(waiting), tell=tell)
    return {question.id: str(journal.results[question.id]["text"]) for question in questions}


def settings_of(questions: Iterable[Question], who: str) -> dict[str, str]:
    """What answers depend on, for their journal."""
    return {"who": who, "questions": fingerprint([[question.id, question.text] for question in questions])}
