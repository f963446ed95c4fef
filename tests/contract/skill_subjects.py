"""Every registered skill with a tiny checkpoint, ready to be asked, and the pictures that it is asked about."""

from __future__ import annotations

import asyncio
import importlib
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.core.composite import Composite, Pictures
from services.core.errors import SkillError
from services.core.images import decode
from services.core.registry import BUILT_IN, SkillClass, discover
from services.core.skill import Skill, SkillCall
from services.core.spec import Symbol
from services.core.types import SkillResult

Answer = SkillResult | SkillError

EXAMPLES: Mapping[str, Sequence[dict[str, Any]]] = {
    "blip2": [{}, {"prompt": "what is it?"}],
    "clip_retrieval": [{}, {"top_k": 2}, {"query": "a dog on the beach"}],
    "controlnet": [{"prompt": "a dog"}, {"prompt": "a red cart", "guidance": 1.0}],
    "grounding_dino": [
        {"caption": "dog . red cart"},
        {"caption": "cat", "box_threshold": 0.0, "text_threshold": 0.1},
        {"caption": "boat", "box_threshold": 1.0},
    ],
    "grounding_dino+sam": [{"caption": "dog . red cart", "box_threshold": 0.0}, {"caption": "cat", "box_threshold": 1}],
    "inpainting": [{"prompt": "a dog"}, {"prompt": "a red cart", "guidance": 1.0}],
    "instruct_pix2pix": [{"prompt": "make it snow"}, {"prompt": "at night", "image_guidance": 1.0}],
    "openseed": [{}, {"classes": ["dog", "beach"]}, {"classes": []}],
    "sam": [
        {"boxes": [[0.1, 0.1, 0.9, 0.9], [0.5, 0.5, 0.5, 0.5]]},
        {"points": [[[0.5, 0.5], [1.0, 0.0]]], "point_labels": [[1, 0]]},
    ],
    "semantic_sam": [{"point": [0.5, 0.5]}, {"boxes": [[0.0, 0.0, 1.0, 1.0]]}],
    "stable_diffusion": [{"prompt": "a dog"}, {"prompt": "a red cart", "guidance": 1.0}],
}
"""Arguments that each skill must answer; skills that are not listed answer without any."""


class Subject:
    """One skill."""

    def __init__(self, skill: Skill[Any, Any] | Composite[Any, Any], parts: DirectParts | None = None) -> None:
        self.spec = skill.spec()
        self.examples = EXAMPLES.get(self.spec.name, ({},))
        self._skill = skill
        self._parts = parts

    def call(self, args: Mapping[str, Any], picture: Image.Image) -> SkillCall[Any]:
        """A call about a picture, with whatever else the skill consumes; seeded where it takes a seed."""
        seeded = {"seed": 7} | dict(args) if "seed" in self.spec.args_model.model_fields else args
        wanted = companions(picture)
        return SkillCall(
            self.spec.args_model.model_validate(seeded), {symbol: wanted[symbol] for symbol in self.spec.consumes}
        )

    def answers(self, calls: Sequence[SkillCall[Any]]) -> list[Answer]:
        """What the skill answers in one batch; an error that it raises for a batch is looked for call by call."""
        if isinstance(self._skill, Composite):
            return asyncio.run(self._composed(self._skill, calls))
        try:
            return list(self._skill.predict(calls))
        except SkillError as error:
            return [error] if len(calls) == 1 else [answer for call in calls for answer in self.answers([call])]

    async def _composed(self, composite: Composite[Any, Any], calls: Sequence[SkillCall[Any]]) -> list[Answer]:
        parts = self._parts
        assert parts is not None

        async def one(call: SkillCall[Any]) -> Answer:
            try:
                answer: SkillResult = await composite.compose(call.args, call.images, parts)
            except SkillError as error:
                return error
            return answer

        return list(await asyncio.gather(*map(one, calls)))


class DirectParts:
    """A part runner without lanes around it: what a part raises is seen with its traceback."""

    def __init__(self, skills: Sequence[Skill[Any, Any]]) -> None:
        self._skills = {skill.name: skill for skill in skills}

    async def run(self, part: Any, args: Any, images: Pictures) -> Any:
        (answer,) = self._skills[part.name].predict([SkillCall(args, images)])
        if isinstance(answer, SkillError):
            raise answer
        return answer


class Subjects:
    """Makes subjects, each skill and each checkpoint once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._skills: dict[str, Skill[Any, Any]] = {}

    def subject(self, skill: SkillClass) -> Subject:
        if issubclass(skill, Composite):
            return Subject(skill(), DirectParts([self._skill(part) for part in skill.parts]))
        return Subject(self._skill(skill))

    def _skill(self, skill: SkillClass) -> Skill[Any, Any]:
        assert issubclass(skill, Skill)
        if skill.name not in self._skills:
            module = tiny_module(skill)
            if find_spec(module) is None:
                pytest.skip(f"{module} is missing: nothing makes a tiny checkpoint of {skill.name}")
            tiny = importlib.import_module(module)
            folder = self._folder / skill.name
            folder.mkdir()
            made = skill(tiny.make(folder), "cpu", **getattr(tiny, "OPTIONS", {}))
            made.setup()
            self._skills[skill.name] = made
        return self._skills[skill.name]


def built_in() -> list[SkillClass]:
    registry = discover()
    skills = (registry.skill(spec.name) for spec in registry.specs())
    return [skill for skill in skills if skill.__module__.startswith(BUILT_IN)]


def tiny_module(skill: SkillClass) -> str:
    return f"tests.tiny.{skill.__module__.rpartition('.')[2]}"


def companions(picture: Image.Image) -> dict[Symbol, Image.Image]:
    """One picture of each kind, for a call about `picture`."""
    width, height = picture.size
    mask = np.zeros((height, width, 3), np.uint8)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
    bands = np.repeat(np.array([[120, 120, 120], [6, 230, 230], [4, 250, 7]], np.uint8), (height + 2) // 3, axis=0)
    image_seg = np.broadcast_to(bands[:height, None], (height, width, 3))
    return {
        Symbol.IMAGE: picture,
        Symbol.MASK: Image.fromarray(mask),
        Symbol.IMAGE_SEG: Image.fromarray(np.ascontiguousarray(image_seg)),
        Symbol.REFERENCE_IMAGE: noise(48, 40, seed=5),
        Symbol.REFERENCE_MASK: Image.fromarray(
            np.pad(np.full((20, 20, 3), 255, np.uint8), ((10, 10), (14, 14), (0, 0)))
        ),
    }


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def uploads() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """Encoded pictures as people send them, with the size that they have once decoded."""
    rgb = noise(40, 30)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    grey16 = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (30, 40)).astype(np.uint16))
    return {
        "one pixel": (_saved(noise(1, 1)), (1, 1)),
        "panorama": (_saved(noise(400, 20)), (400, 20)),
        "tower": (_saved(noise(12, 240)), (12, 240)),
        "thread": (_saved(noise(3000, 1)), (3000, 1)),
        "hair": (_saved(noise(1, 3000)), (1, 3000)),
        "greyscale": (_saved(rgb.convert("L")), (40, 30)),
        "black and white": (_saved(rgb.convert("1")), (40, 30)),
        "palette": (_saved(rgb.convert("P")), (40, 30)),
        "alpha": (_saved(rgb.convert("RGBA")), (40, 30)),
        "grey with alpha": (_saved(rgb.convert("LA")), (40, 30)),
        "CMYK": (_saved(rgb.convert("CMYK"), "JPEG"), (40, 30)),
        "16 bits": (_saved(grey16), (40, 30)),
        "EXIF-rotated": (_saved(rgb, "JPEG", exif=rotated), (30, 40)),
        "one colour": (_saved(Image.new("RGB", (64, 64), "black")), (64, 64)),
        "noise": (_saved(noise(96, 72)), (96, 72)),
    }


def _saved(picture: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def decoded_uploads() -> dict[str, Image.Image]:
    return {name: decode(data) for name, (data, _) in uploads().items()}
