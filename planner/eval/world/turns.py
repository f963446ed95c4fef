"""Questions with checks of their answers, and the scenes that they are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from planner.eval.cases import Way
from planner.eval.gateway import Reply
from services.embedded.world.concepts import SIGN, TEST_SEED, TRAIN_STYLES
from services.embedded.world.render import Rendered, SeenObject, render
from services.embedded.world.scene import sample_scene, scene_rng


class Eyes(Protocol):
    """Looks at pictures with the platform's own skills."""

    async def finds(self, handle: str, phrase: str) -> list[list[float]]:
        """Boxes of what a phrase names."""
        ...

    async def scene(self, handle: str) -> str | None:
        """The background of a picture."""
        ...

    async def pixels(self, handle: str) -> NDArray[np.uint8]:
        """The picture, [height, width, 3]."""
        ...


Check = Callable[[Reply, Eyes], Awaitable[str]]
"""Says "" of a right answer, else what is wrong with it."""


@dataclass(frozen=True)
class Given:
    """What comes along with a question: marks, or an example (a scene's number and a mask in it)."""

    points: tuple[tuple[float, float], ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    example: tuple[int, dict[str, Any]] | None = None


@dataclass(frozen=True)
class Turn:
    """A question.

    Attributes:
        accept: the calls that it needs, in every way that is right; see `planner.eval.cases.Case`.
        ideal: a right text, where no skill's result is one.
    """

    text: str
    check: Check
    given: Given = Given()
    accept: tuple[Way, ...] = ()
    ideal: str = ""


@dataclass(frozen=True)
class Dialogue:
    """Questions that are asked one after the other in one session.

    Attributes:
        scene: the picture's number; None where there is none.
    """

    id: str
    row: str
    scene: int | None
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Setting:
    """What questions are made from: a scene, random choices, and a way to other scenes."""

    number: int
    drawn: Rendered
    rng: np.random.Generator
    scenes: Scenes

    def one(self, *options: str) -> str:
        return options[int(self.rng.integers(len(options)))]

    def some(self, items: Sequence[Any]) -> Any:
        return items[int(self.rng.integers(len(items)))]

    @property
    def lone(self) -> list[tuple[int, SeenObject]]:
        """Objects that are alone of their kind, signs left out."""
        counts = Counter(item.concept for item in self.drawn.objects)
        return [
            (index, item)
            for index, item in enumerate(self.drawn.objects)
            if counts[item.concept] == 1 and item.concept != SIGN
        ]

    @property
    def names(self) -> set[str]:
        return {item.concept for item in self.drawn.objects}

    @property
    def boxes(self) -> list[Sequence[float]]:
        return [item.box for item in self.drawn.objects]


class Scenes:
    """Held-out scenes by number, drawn when they are asked for."""

    def __init__(self, draw: Callable[[int], Rendered] | None = None) -> None:
        self._draw = draw or (lambda number: render(sample_scene(scene_rng(TEST_SEED, number), TRAIN_STYLES)))
        self._known: dict[int, Rendered] = {}

    def __getitem__(self, number: int) -> Rendered:
        if number not in self._known:
            self._known[number] = self._draw(number)
        return self._known[number]


def inner_point(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The point of a mask that is farthest from its edge, as [x, y] of 0..1."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return round((int(x) + 0.5) / mask.shape[1], 2), round((int(y) + 0.5) / mask.shape[0], 2)
