"""The skills with their embedded checkpoints, in this process and without Ray."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from services.core.checkpoints import EMBEDDED_PREFIX, checkpoint_source
from services.core.composite import Composite, LocalParts
from services.core.errors import SkillError
from services.core.registry import Registry, discover
from services.core.skill import Skill, SkillCall
from services.embedded.eval.progress import Progress, Report, quiet
from services.embedded.eval.scorer import ScoringFailed
from services.embedded.training.publish import CARD, weights_folder
from services.retrieval.encoder import ClipEncoder


@dataclass(frozen=True, slots=True)
class Setup:
    """How a skill is configured.

    Attributes:
        checkpoint: what the skill is given; None for weights that a package carries.
        options: the skill's settings.
        batch: calls that are answered at once.
    """

    checkpoint: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 8

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the embedded checkpoints that it loads."""
        named = (self.checkpoint, self.options.get("base"))
        return tuple(name.removeprefix(EMBEDDED_PREFIX) for name in named if name and name.startswith(EMBEDDED_PREFIX))


_PAINTING: Final = MappingProxyType({"steps": 16, "guidance": 4.0})
_TUNED: Final = MappingProxyType({**_PAINTING, "base": "embedded:stable_diffusion"})

EMBEDDED: Final[Mapping[str, Setup]] = MappingProxyType(
    {
        "ram": Setup("embedded:ram", {"tiles": 2}),
        "sam": Setup("embedded:sam", {"closer": 2.0}),
        "semantic_sam": Setup("embedded:semantic_sam", {"closer": 2.5}),
        "openseed": Setup("embedded:openseed", {"tiles": 2}),
        "seem": Setup("embedded:seem", {"closer": 2.0, "tiles": 2}),
        "grounding_dino": Setup("embedded:grounding_dino", {"one_phrase": True}),
        "blip2": Setup("embedded:blip2", {"max_new_tokens": 60, "num_beams": 3, "length_penalty": 0.0}, batch=16),
        "clip_retrieval": Setup("embedded:clip", batch=16),
        "easyocr": Setup(None, {"dtype": "native"}),
        "stable_diffusion": Setup("embedded:stable_diffusion", {**_PAINTING, "output_side": 256}),
        # Trained at 96 pixels; at more it keeps more of the small things that it is given (0.30 for 0.24 of them), and
        # what it hardly changes does not pass through the autoencoder at all.
        "instruct_pix2pix": Setup(
            "embedded:instruct_pix2pix", {**_TUNED, "side": 160, "image_guidance": 2.0, "keep_below": 0.1}
        ),
        "inpainting": Setup("embedded:inpainting", {**_TUNED, "closer": 1.4}),
        "controlnet": Setup("embedded:controlnet", _TUNED),
    }
)
"""The settings that are scored, and that the embedded profile serves."""


class Skills:
    """Implements `Asks`. Skills are loaded when they are first asked; `close` lets go of them.

    Args:
        setups: skill name to its configuration; composites need none.
        report: is given progress.
    """

    def __init__(self, setups: Mapping[str, Setup] = EMBEDDED, report: Report = quiet) -> None:
        self._setups = dict(setups)
        self._report = report
        self._registry: Registry = discover()
        self._loaded: dict[str, Skill[Any, Any]] = {}
        self._variants: list[Skills] = []
        self._runner = asyncio.Runner()
        self._parts: LocalParts | None = None
        self._clip: ClipEncoder | None = None

    def ask(self, name: str, calls: Iterable[SkillCall[Any]], total: int) -> list[Any]:
        progress = Progress(self._report, name, total)
        answers: list[Any] = []
        remaining = iter(calls)
        while batch := list(itertools.islice(remaining, self._batch(name))):
            answers.extend(_good(name, self._answer(name, batch)))
            progress.add(len(batch))
        return answers

    def seconds(self, name: str, call: SkillCall[Any]) -> float:
        """How long a single call takes."""
        started = time.perf_counter()
        _good(name, self._answer(name, [call]))
        return time.perf_counter() - started

    def configured(self, name: str, **options: Any) -> Skills:
        setup = self._setups[name]
        changed = {name: replace(setup, options={**setup.options, **options})}
        self._variants.append(Skills(self._setups | changed, self._report))
        return self._variants[-1]

    def source(self, name: str) -> str:
        checkpoint = self._setups[name].checkpoint
        assert checkpoint is not None
        return checkpoint_source(checkpoint)

    def clip(self) -> ClipEncoder:
        if self._clip is None:
            source = self.source("clip_retrieval")
            self._clip = ClipEncoder(source, lambda model: model.float().eval(), lambda pixels: pixels)
        return self._clip

    def close(self) -> None:
        """Let go of the models."""
        for variant in self._variants:
            variant.close()
        if self._parts is not None:
            self._parts.close()
        self._runner.close()
        self._loaded.clear()

    def _batch(self, name: str) -> int:
        kind = self._registry.skill(name)
        return min(self._setups[part].batch for part in parts_of(name)) if kind.parts else self._setups[name].batch

    def _answer(self, name: str, calls: list[SkillCall[Any]]) -> list[Any]:
        kind = self._registry.skill(name)
        if issubclass(kind, Composite):
            return self._runner.run(self._composed(kind(), calls))
        if name not in self._loaded:
            self._loaded[name] = self._made(name)
            self._loaded[name].setup()
        try:
            return list(self._loaded[name].predict(calls))
        except SkillError as error:
            raise ScoringFailed(f"{name}: {error.message}") from error

    async def _composed(self, composite: Composite[Any, Any], calls: list[SkillCall[Any]]) -> list[Any]:
        if self._parts is None:
            self._parts = LocalParts([self._made(part.name) for part in composite.parts], len(calls))
        parts = self._parts
        composed = (composite.compose(call.args, call.images, parts) for call in calls)
        return await asyncio.gather(*composed, return_exceptions=True)

    def _made(self, name: str) -> Skill[Any, Any]:
        setup = self._setups[name]
        kind = self._registry.skill(name)
        assert issubclass(kind, Skill)
        return kind(setup.checkpoint, "cpu", **setup.options)


def _good(name: str, answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, BaseException):
            raise ScoringFailed(f"{name}: {answer}") from answer
    return answers


def parts_of(name: str) -> tuple[str, ...]:
    """The skills with a model that a skill runs: itself, or a composite's parts."""
    parts = discover().skill(name).parts
    return tuple(part.name for part in parts) or (name,)


def checkpoints_of(names: Iterable[str], setups: Mapping[str, Setup] = EMBEDDED) -> list[str]:
    """Names of the embedded checkpoints that skills load, each once."""
    return list(
        dict.fromkeys(
            checkpoint
            for name in names
            for part in parts_of(name)
            if part in setups
            for checkpoint in setups[part].needs
        )
    )


def unpublished(checkpoints: Iterable[str]) -> list[str]:
    """Those that are not in the package."""
    return [name for name in checkpoints if not (weights_folder() / name / CARD).is_file()]
