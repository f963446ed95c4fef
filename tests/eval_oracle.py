"""Skills that know the answers, for tests of the evaluation: what scorers make of perfect answers and of bad ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.core.types import ImageSize, MaskRLE
from services.embedded.eval.scorers.inpainting import Hole
from services.embedded.eval.splits import Split
from services.embedded.training.segments import CLASSES, class_map
from services.embedded.world.concepts import BACKGROUNDS, NAMES
from services.embedded.world.labels import phrase_objects, tags
from services.embedded.world.language import named_concepts, named_scene, plain_caption
from services.embedded.world.questions import questions
from services.embedded.world.render import Rendered, render
from services.embedded.world.scene import sample_scene, scene_rng
from services.models.captions import phrases_of
from services.models.diffusion.contract import PaintedPicture
from services.models.palette import paint, palette
from services.retrieval.index import RetrievalIndex
from services.skills.blip2 import Blip2Result
from services.skills.clip_retrieval import LocalSearch, _result
from services.skills.easyocr import EasyOcrResult
from services.skills.grounded_sam import GroundedSamResult
from services.skills.grounding_dino import GroundingDinoResult
from services.skills.openseed import OpenSeedResult, SegmentLabel
from services.skills.ram import RamResult
from services.skills.sam import SamResult
from services.skills.seem import SeemResult
from services.skills.semantic_sam import MaskLevels, SemanticSamResult
from tests.world_sprites import shapes_atlas

SIDE = 128
SIZE = ImageSize(width=SIDE, height=SIDE)
SEED = 5


def scenes(count: int, first: int = 0) -> list[Rendered]:
    """Scenes of drawn shapes, small."""
    drawn = (
        render(sample_scene(scene_rng(SEED, first + index), ("fluent3d", "fluent")), SIDE, shapes_atlas())
        for index in range(count)
    )
    return list(drawn)


def split(drawn: Sequence[Rendered], name: str = "in style", painted: int = 6) -> Split:
    return Split(name, drawn, painted, SEED, shapes_atlas())


@dataclass
class Oracle:
    """Implements `Asks` from the truth about pictures.

    Attributes:
        known: scenes whose pictures may come.
        painted: what a painter gives to call after call; scorers give each call's number as its seed.
        bad: skills that answer as badly as they can.
    """

    known: Iterable[Rendered]
    painted: Sequence[Image.Image] = ()
    bad: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_picture = {np.asarray(drawn.image).tobytes(): drawn for drawn in self.known}

    def ask(self, name: str, calls: Iterable[SkillCall[Any]], total: int) -> list[Any]:
        answer = getattr(self, f"_{name.replace('+', '_')}")
        answers = [answer(call, name in self.bad) for call in calls]
        assert len(answers) == total
        return answers

    def configured(self, name: str, **options: Any) -> Oracle:
        return replace(self, known=self.by_picture.values(), options=options)

    def source(self, name: str) -> str:
        return f"nothing/{name}"

    def clip(self) -> TrueClip:
        return TrueClip(self)

    def drawn(self, shown: Image.Image) -> Rendered:
        return self.by_picture[np.asarray(shown).tobytes()]

    def _grounding_dino(self, call: SkillCall[Any], bad: bool) -> GroundingDinoResult:
        found = self._groundings(call, bad)
        return GroundingDinoResult(
            boxes=[box for box, _, _ in found],
            phrases=[phrase for _, phrase, _ in found],
            logits=[0.9] * len(found),
            size=SIZE,
        )

    def _grounding_dino_sam(self, call: SkillCall[Any], bad: bool) -> GroundedSamResult:
        drawn = self.drawn(call.image)
        found = self._groundings(call, bad)
        return GroundedSamResult(
            boxes=[box for box, _, _ in found],
            phrases=[phrase for _, phrase, _ in found],
            logits=[0.9] * len(found),
            masks_rle=[MaskRLE.from_array(drawn.mask(index)) for _, _, index in found],
            size=SIZE,
        )

    def _groundings(self, call: SkillCall[Any], bad: bool) -> list[tuple[Any, str, int]]:
        """Box, phrase and object; bad ones call everything by another phrase of the caption."""
        drawn = self.drawn(call.image)
        phrases = phrases_of(call.args.caption)
        return [
            (drawn.objects[index].box, phrases[number - 1] if bad else phrase, index)
            for number, phrase in enumerate(phrases)
            for index in phrase_objects(drawn, phrase)
        ]

    def _sam(self, call: SkillCall[Any], bad: bool) -> SamResult:
        drawn = self.drawn(call.image)
        masks = [drawn.mask(index) for index in range(len(drawn.objects))]
        codes = [MaskRLE.from_array(~mask if bad else mask) for mask in masks]
        return SamResult(masks_rle=codes, iou=[1.0] * len(codes), boxes=[(0, 0, 0, 0)] * len(codes), size=SIZE)

    def _semantic_sam(self, call: SkillCall[Any], bad: bool) -> SemanticSamResult:
        drawn = self.drawn(call.image)
        levels = []
        for x, y in call.args.point:
            index = int(drawn.instances[int(y * SIDE), int(x * SIDE)]) - 1
            part = drawn.parts == drawn.parts[int(y * SIDE), int(x * SIDE)]
            masks = [part & drawn.mask(index), drawn.mask(index), drawn.group_mask(index)]
            codes = [MaskRLE.from_array(~mask if bad else mask) for mask in masks]
            levels.append(
                MaskLevels(
                    masks_rle=codes, iou=[1] * 3, areas=[0] * 3, boxes=[(0, 0, 0, 0)] * 3, best=0, by_iou=[0, 1, 2]
                )
            )
        return SemanticSamResult(levels=levels, masks_rle=[level.masks_rle[0] for level in levels], size=SIZE)

    def _openseed(self, call: SkillCall[Any], bad: bool) -> OpenSeedResult:
        drawn = self.drawn(call.image)
        ids = class_map(drawn, drawn.instances)
        ids = np.where(bad, (ids + 1) % len(CLASSES), ids)
        labels = [
            SegmentLabel(name=CLASSES[index], id=index, area=0.5, colour=tuple(palette(len(CLASSES))[index].tolist()))
            for index in np.unique(ids).tolist()
        ]
        return OpenSeedResult(image_seg=Image.fromarray(paint(ids, len(CLASSES))), labels=labels, size=SIZE)

    def _seem(self, call: SkillCall[Any], bad: bool) -> SeemResult:
        drawn, example = self.drawn(call.image), self.drawn(call.images[Symbol.REFERENCE_IMAGE])
        marked = np.asarray(call.images[Symbol.REFERENCE_MASK])[..., 0] > 0
        concept = example.objects[int(example.instances[marked][0]) - 1].concept
        mask = np.isin(
            drawn.instances, [index + 1 for index, item in enumerate(drawn.objects) if item.concept == concept]
        )
        return SeemResult(masks_rle=[] if bad else [MaskRLE.from_array(mask)], score=1.0, area=0.1, size=SIZE)

    def _ram(self, call: SkillCall[Any], bad: bool) -> RamResult:
        found = [] if bad else tags(self.drawn(call.image))
        return RamResult(tags=found, scores=[1.0] * len(found), size=SIZE)

    def _blip2(self, call: SkillCall[Any], bad: bool) -> Blip2Result:
        drawn = self.drawn(call.image)
        if bad:
            said = "nothing"
        elif not call.args.prompt:
            said = plain_caption(drawn)
        else:
            # Questions come in random words: all random numbers that the scorer may have used are tried.
            asked = (one for index in range(40) for one in questions(drawn, np.random.default_rng([SEED, index])))
            said = next(one.answer for one in asked if one.question == call.args.prompt)
        return Blip2Result(caption=said, size=SIZE)

    def _easyocr(self, call: SkillCall[Any], bad: bool) -> EasyOcrResult:
        read = [text for item in self.drawn(call.image).objects if item.text for text in item.text.split("\n")]
        read = ["nonsense"] if bad else read
        return EasyOcrResult(boxes=[(0, 0, 1, 1)] * len(read), texts=read, scores=[1.0] * len(read), size=SIZE)

    def _clip_retrieval(self, call: SkillCall[Any], bad: bool) -> Any:
        clip = self.clip()
        search = LocalSearch(clip, RetrievalIndex(Path(self.options["index"]), clip.fingerprint))  # type: ignore[arg-type]
        (hits,) = search([call])
        assert isinstance(hits, list)
        return _result(hits, call.image)

    def _stable_diffusion(self, call: SkillCall[Any], bad: bool) -> PaintedPicture:
        return self._paint(call)

    _instruct_pix2pix = _inpainting = _controlnet = _stable_diffusion

    def _paint(self, call: SkillCall[Any]) -> PaintedPicture:
        return PaintedPicture(edited_image=self.painted[call.args.seed], seed=0, steps=1, size=SIZE)


@dataclass
class TrueClip:
    """A CLIP whose vectors say which concepts and which background a picture or text has."""

    oracle: Oracle
    dim: int = len(NAMES) + len(BACKGROUNDS)
    fingerprint: str = "true"

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> Any:
        return np.stack([self._vector(plain_caption(self.oracle.drawn(shown))) for shown in pictures])

    def encode_texts(self, texts: Sequence[str]) -> Any:
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> Any:
        vector = np.full(self.dim, 0.001, np.float32)
        for concept in named_concepts(text):
            vector[NAMES.index(concept)] = 1.0
        if named_scene(text):
            vector[len(NAMES) + BACKGROUNDS.index(str(named_scene(text)))] = 0.9
        return vector / np.linalg.norm(vector)


def filled(hole: Hole, *, outside: int = 0) -> Rendered:
    """The hole's scene with something in the hole that is what was asked for; `outside` is added to other pixels."""
    image = np.array(hole.drawn.image)
    image[~hole.mask] += np.uint8(outside)
    image[hole.mask] = (200, 60, 60)
    item = replace(hole.drawn.objects[0], concept=hole.concept, colour=hole.colour, box=hole.box, text=None)
    return replace(hole.drawn, image=image, objects=(item,))
