"""What the commands of `llava-plus eval` share: planners by name, where results go, progress."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.api import Planner
from planner.client import PlannerClient
from planner.dialects import dialect
from planner.eval.weights import NoWeights, complete, content_hash, newest
from planner.model import WEIGHTS
from services.core.errors import UnknownSkill
from services.core.images import DATA_KEY
from services.core.registry import discover
from services.core.spec import SkillSpec

Pictures = Callable[[str], Awaitable[bytes]]
"""From a picture's handle to its bytes."""

RESULTS = Path("runs") / "evaluation"
"""Where runs are kept unless a folder is named; git does not see it."""


class EvaluationError(ValueError):
    """A run cannot be made; the message says what to do."""


@dataclass(frozen=True)
class PlannerChoice:
    """Which planner to score.

    Attributes:
        planner: `embedded` (transformers in this process), `embedded-vllm` (the engine of service in this process),
            or the URL of an OpenAI-compatible endpoint with its version, for example https://example.org/v1.
        model: the endpoint's name of its model; for the embedded planner a folder of weights, an adapter alone, or a
            training run (its newest checkpoint).
        key_env: the environment variable that holds the endpoint's key.
        dialect: see `planner.dialects`.
        skills: those that the planner is told of; all when empty.
        learned: those that it knows by name.
    """

    planner: str = "embedded"
    model: str = ""
    key_env: str = ""
    dialect: str = ""
    skills: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()

    @property
    def is_url(self) -> bool:
        return self.planner.startswith(("http://", "https://"))

    @property
    def at_once(self) -> int:
        """How many requests are worth sending at a time: vLLM answers many together."""
        return 16 if self.planner == "embedded-vllm" else 1

    @property
    def weights(self) -> Path | None:
        """The folder that `model` names to the embedded planner, or the weights that ship; None for an endpoint.

        Raises:
            EvaluationError: there is no adapter in it.
        """
        if self.is_url:
            return None
        if not self.model:
            return WEIGHTS
        try:
            return newest(Path(self.model))
        except NoWeights as error:
            raise EvaluationError(f"--model: {error}") from None

    def about(self) -> dict[str, Any]:
        """What results depend on, without the key."""
        known = {"learned": ", ".join(self.learned)} if self.learned else {}
        content = {"weights": content_hash(self.weights)} if self.weights else {}
        return {
            "planner": self.planner,
            "model": str(self.weights) if self.model and not self.is_url else self.model or "default",
            "dialect": self.dialect or ("openai_tools" if self.is_url else "json"),
            "skills": ", ".join(self.skills) or "all",
            **known,
            **content,
        }


def offered(skills: Sequence[str]) -> tuple[SkillSpec, ...]:
    """The specs of the named skills, or of all that are installed.

    Raises:
        EvaluationError: one is unknown.
    """
    registry = discover()
    if not skills:
        return tuple(registry.specs())
    try:
        return tuple(registry.spec(name) for name in skills)
    except UnknownSkill as error:
        raise EvaluationError(f"--skills: {error.message}") from None


@asynccontextmanager
async def opened_planner(choice: PlannerChoice, pictures: Pictures | None = None) -> AsyncIterator[Planner]:
    """The planner that `choice` names, for the time of a block.

    Args:
        pictures: from a handle to the picture's bytes; without it, every picture is `stand_in_picture`, or for the
            embedded planner noise.

    Raises:
        EvaluationError: there is none.
    """
    told = frozenset(choice.skills) or None
    if choice.is_url:
        if not choice.model:
            raise EvaluationError("Name the endpoint's model: --model NAME.")
        from planner.openai_engine import OpenAIEngine

        engine = OpenAIEngine(choice.planner, choice.model, _Reader(pictures or _stand_in), key_in(choice.key_env))
        try:
            yield PlannerClient(engine, dialect(choice.dialect or "openai_tools", choice.learned), choice.model, told)
        finally:
            await engine.close()
        return
    if choice.planner not in ("embedded", "embedded-vllm"):
        raise EvaluationError(f"--planner {choice.planner}: use embedded, embedded-vllm, or an endpoint's URL.")
    weights = choice.weights
    assert weights is not None, "only an endpoint has none"
    form = dialect(choice.dialect or "json", choice.learned)
    if choice.planner == "embedded-vllm":
        from planner.eval.in_process import opened_engine

        async with opened_engine(weights, pictures) as served:
            yield PlannerClient(served, form, choice.planner, told)
        return
    from planner.eval.local import LocalEngine, TransformersPlanner

    with tempfile.TemporaryDirectory(prefix="weights-") as folder:
        writer = TransformersPlanner(complete(weights, Path(folder)))
        yield PlannerClient(LocalEngine(writer, pictures), form, choice.planner, told)


def key_in(variable: str) -> str | None:
    """The endpoint's key that an environment variable holds; None for no variable."""
    if not variable:
        return None
    if variable not in os.environ:
        raise EvaluationError(f"The environment variable {variable} is not set: it is to hold the endpoint's key.")
    return os.environ[variable]


class _Reader:
    """Implements `services.core.images.BytesReader` with any source of pictures."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    async def get(self, name: str) -> bytes | None:
        before, after = DATA_KEY.split("{}")
        return await self._pictures(name.removeprefix(before).removesuffix(after))


def time_limit(minutes: float | None) -> Callable[[], bool]:
    """Says whether the time is over; it begins when it is first asked, after everything has been loaded."""
    begun: float | None = None

    def over() -> bool:
        nonlocal begun
        now = time.monotonic()
        begun = now if begun is None else begun
        return minutes is not None and now - begun > minutes * 60

    return over


class Progress:
    """Says how far a run is and how long it will take, at most every few seconds."""

    def __init__(self, say: Callable[[str], None], every_s: float = 10.0) -> None:
        self._say = say
        self._every_s = every_s
        self._begun = self._last = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if done < total and now - self._last < self._every_s:
            return
        self._last = now
        fresh = done - self._first
        left = f", about {_in_words((now - self._begun) / fresh * (total - done))} left" if fresh else ""
        self._say(f"{done} of {total}{left}")


def _in_words(seconds: float) -> str:
    """Seconds where they are few, else minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def stand_in_picture() -> bytes:
    """A plain drawn picture (PNG) for planners that must be sent one; the requests are judged by their words."""
    from io import BytesIO

    from PIL import Image, ImageDraw

    shown = Image.new("RGB", (336, 336), (168, 205, 235))
    draw = ImageDraw.Draw(shown)
    draw.rectangle((0, 210, 336, 336), fill=(110, 160, 90))
    draw.rectangle((60, 130, 150, 240), fill=(190, 90, 70))
    draw.ellipse((220, 40, 280, 100), fill=(250, 220, 90))
    out = BytesIO()
    shown.save(out, "PNG")
    return out.getvalue()


async def _stand_in(handle: str) -> bytes:
    return stand_in_picture()


def write_report(folder: Path, name: str, data: Mapping[str, Any], page: str) -> Path:
    """NAME.json and NAME.md in `folder`; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path = folder / f"{name}.md"
    path.write_text(page, encoding="utf-8")
    return path
