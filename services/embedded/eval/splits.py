"""The held-out scenes: in the styles that the checkpoints were trained on, and in one that they never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from services.embedded.eval.progress import Report
from services.embedded.eval.targets import IN_STYLE, UNSEEN
from services.embedded.world.atlas import Atlas
from services.embedded.world.cache import SceneCache
from services.embedded.world.concepts import TEST_SEED, TRAIN_STYLES, UNSEEN_SEED, UNSEEN_STYLES
from services.embedded.world.render import Rendered

SCENES_IN_STYLE = 500
SCENES_UNSEEN = 200


@dataclass(frozen=True, slots=True)
class Split:
    """Scenes to score on.

    Attributes:
        name: `IN_STYLE` or `UNSEEN`.
        painted: how many pictures skills that paint are asked for; each takes seconds.
        seed: whatever a scorer draws at random comes from it.
        atlas: sprites for edits; the shared ones when None.
    """

    name: str
    scenes: Sequence[Rendered]
    painted: int
    seed: int
    atlas: Atlas | None = None

    def rng(self, *numbers: int) -> np.random.Generator:
        """Random numbers that belong to this split and to `numbers`."""
        return np.random.default_rng([self.seed, *numbers])


def held_out(folder: Path, scenes: int, unseen: int, painted: int, report: Report) -> list[Split]:
    """The two splits, rendered into `folder` where they are not there yet.

    Raises:
        StaleCache, WorldNotReady: the scenes cannot be had; the message says what to do.
    """
    parts = (
        (IN_STYLE, "test", TEST_SEED, TRAIN_STYLES, SCENES_IN_STYLE, scenes, painted),
        (UNSEEN, "test_unseen", UNSEEN_SEED, UNSEEN_STYLES, SCENES_UNSEEN, unseen, painted // 2),
    )
    return [
        Split(
            name,
            SceneCache.build(folder / inside, max(count, wanted), seed, styles, report=report)[:wanted],
            asked,
            seed,
        )
        for name, inside, seed, styles, count, wanted, asked in parts
    ]


def picture(drawn: Rendered) -> Image.Image:
    """A scene's picture as skills get it."""
    return Image.fromarray(np.asarray(drawn.image))
