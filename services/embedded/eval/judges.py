"""Our own detector and CLIP look at painted pictures, and say what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.embedded.eval.detections import SHOWN, Found, asked, everything
from services.embedded.eval.scorer import Asks
from services.embedded.world.concepts import BACKGROUNDS, CONCEPT, SPRITE_NAMES
from services.embedded.world.language import PLACES, counted

JUDGES: Final = ("grounding_dino", "clip_retrieval")
_CLIP_BATCH: Final = 32


def object_prompt(concept: str, colour: str | None, background: str) -> str:
    """'a red car on a beach': one thing in its place; concepts that come in no colour are named without it."""
    return f"{counted(concept, 1, colour if CONCEPT[concept].coloured else None)} {PLACES[background][0]}"


@dataclass(frozen=True, slots=True)
class Judges:
    """What the judges say of pictures. Each is the skill with its published checkpoint."""

    skills: Asks

    def backgrounds(self, pictures: Sequence[Image.Image]) -> list[str]:
        """The background of each picture, by CLIP: whose plainest words are nearest."""
        near = self._likeness(pictures, [PLACES[name][0] for name in BACKGROUNDS])
        return [BACKGROUNDS[index] for index in near.argmax(1).tolist()]

    def lone_concepts(
        self, pictures: Sequence[Image.Image], colours: Sequence[str | None], backgrounds: Sequence[str]
    ) -> list[str]:
        """The concept that each picture of one thing shows, by CLIP, given its colour and background."""
        texts: dict[str, int] = {}
        rows = []
        for colour, background in zip(colours, backgrounds, strict=True):
            prompts = [object_prompt(name, colour, background) for name in SPRITE_NAMES]
            rows.append([texts.setdefault(prompt, len(texts)) for prompt in prompts])
        near = self._likeness(pictures, list(texts))
        return [SPRITE_NAMES[int(near[index, row].argmax())] for index, row in enumerate(rows)]

    def detections(self, pictures: Sequence[Image.Image]) -> list[list[Found]]:
        """Every concept that the detector finds, best first."""
        return everything(self.skills, pictures, SHOWN)

    def asked(self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[list[Found]]:
        """What the detector finds of each picture's own phrases, best first."""
        return asked(self.skills, pictures, [[mine] for mine in phrases], SHOWN)

    def _likeness(self, pictures: Sequence[Image.Image], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosines [pictures, texts]."""
        clip = self.skills.clip()
        seen = [clip.encode_pictures(part) for part in _parts(pictures)]
        said = [clip.encode_texts(part) for part in _parts(texts)]
        likeness: NDArray[np.float32] = np.concatenate(seen) @ np.concatenate(said).T
        return likeness


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _CLIP_BATCH] for start in range(0, len(items), _CLIP_BATCH)]
