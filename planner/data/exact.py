"""Results of skills from a picture's labels, with the mistakes that real detectors, taggers and captioners make."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.data.labels import Box, LabelledObject, LabelledPicture, Mask
from planner.data.results import Asked, NoResult
from planner.data.visual_questions import NO, YES, answer
from services.core.types import MaskRLE

Result = dict[str, Any]
_FACTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Noise:
    """How often and how much labels are spoilt.

    Attributes:
        missed: share of things that a detector overlooks.
        mistaken: share of calls in which it finds something that is not there.
        shift: standard deviation of a box's sides, in picture sides.
        wrong: share of yes and no that are turned round, and of tags that are left out.
    """

    missed: float = 0.08
    mistaken: float = 0.03
    shift: float = 0.008
    wrong: float = 0.06


class ExactResults:
    """Implements `SkillResults` for the skills whose results labels can tell.

    Args:
        noise: `Noise(0, 0, 0, 0)` gives the labels themselves.
        facts: what a look-up by a noun finds, also where the picture does not show it.
    """

    def __init__(self, noise: Noise | None = None, facts: Mapping[str, Sequence[str]] | None = None) -> None:
        self._noise = noise or Noise()
        self._facts = facts or {}
        self._answers: Mapping[str, Callable[[Asked, LabelledPicture, random.Random], Result]] = {
            "grounding_dino": self._detected,
            "grounding_dino+sam": self._cut_out,
            "sam": self._masks,
            "semantic_sam": self._levels,
            "seem": self._by_example,
            "openseed": self._map,
            "blip2": self._said,
            "blip2+grounding_dino": self._grounded_caption,
            "ram": self._tagged,
            "ram+grounding_dino": self._grounded_tags,
            "easyocr": self._read,
            "clip_retrieval": self._known,
            "instruct_pix2pix": _painted,
            "inpainting": _painted,
            "controlnet": _painted,
        }

    def call(self, asked: Asked) -> Result:
        rng = random.Random(asked.seed)
        if asked.skill == "stable_diffusion":
            return _painting((256, 256), rng)
        answered = self._answers.get(asked.skill)
        if answered is None:
            raise NoResult(f"labels do not tell what {asked.skill} gives")
        if asked.picture is None:
            raise NoResult(f"{asked.skill} needs a picture")
        return answered(asked, asked.picture, rng) | _size(asked.picture)

    def _detected(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        names = [name.strip() for name in str(asked.args["caption"]).split(".") if name.strip()]
        found = [(item, name) for name in dict.fromkeys(names) for item in picture.named(name)]
        found = [pair for pair in found if rng.random() >= self._noise.missed]
        others = [item for item in picture.objects if all(item is not seen for seen, _ in found)]
        if others and rng.random() < self._noise.mistaken:
            found.append((rng.choice(others), rng.choice(names)))
        rng.shuffle(found)
        scores = sorted((round(rng.uniform(0.35, 0.97), 4) for _ in found), reverse=True)
        scores = [score for score in scores if score >= asked.args.get("box_threshold", 0.0)]
        found = found[: len(scores)]
        return {
            "boxes": [self._shifted(item.box, rng) for item, _ in found],
            "logits": scores,
            "phrases": [name for _, name in found],
        }

    def _cut_out(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        found = self._detected(asked, picture, rng)
        return found | {"masks_rle": [_rle(_mask_in(picture, box)) for box in found["boxes"]]}

    def _masks(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        masks = [_mask_at(picture, place) for place in _places(asked.args)]
        return {
            "masks_rle": [_rle(mask) for mask in masks],
            "iou": [round(rng.uniform(0.7, 0.98), 4) for _ in masks],
            "boxes": [_box_of(mask) for mask in masks],
        }

    def _levels(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        levels: list[Result] = []
        for place in _places(asked.args):
            item = _object_at(picture, place)
            if item is None or item.levels is None:
                raise NoResult("nothing with parts lies at the marked place")
            masks = sorted(item.levels(), key=lambda mask: int(mask.sum()))
            scores = [round(rng.uniform(0.6, 0.97), 4) for _ in masks]
            by_score = sorted(range(len(masks)), key=lambda index: -scores[index])
            levels.append(
                {
                    "masks_rle": [_rle(mask) for mask in masks],
                    "iou": scores,
                    "areas": [float(mask.mean()) for mask in masks],
                    "boxes": [_box_of(mask) for mask in masks],
                    "best": by_score[0],
                    "by_iou": by_score,
                }
            )
        return {"levels": levels, "masks_rle": [level["masks_rle"][level["best"]] for level in levels]}

    def _by_example(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        if asked.reference is None:
            raise NoResult("seem needs an example")
        example, index = asked.reference
        alike = picture.named(example.objects[index].noun.name)
        if not alike or rng.random() < self._noise.missed:
            return {"masks_rle": [], "score": 0.0, "area": 0.0}
        mask = _union(_mask_of(picture, item) for item in alike)
        return {"masks_rle": [_rle(mask)], "score": round(rng.uniform(0.6, 0.95), 4), "area": float(mask.mean())}

    def _map(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        areas: dict[str, float] = {}
        for item in picture.objects:
            areas[item.noun.name] = areas.get(item.noun.name, 0.0) + item.area
        if picture.scene:
            areas[picture.scene] = max(1.0 - sum(areas.values()), 0.0)
        wanted = asked.args.get("classes")
        labels = [
            {"name": name, "id": index, "area": min(area, 1.0), "colour": (37 * index % 256, 91 * index % 256, 120)}
            for index, (name, area) in enumerate(sorted(areas.items(), key=lambda pair: -pair[1]))
            if wanted is None or name in wanted
        ]
        return {"image_seg": _handle(rng), "labels": labels}

    def _said(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        prompt = str(asked.args.get("prompt", ""))
        if not prompt:
            return {"caption": _caption(picture, rng)}
        said = answer(picture, prompt)
        if said is None:
            raise NoResult("labels do not answer the question")
        if rng.random() < self._noise.wrong:
            said = {YES: NO, NO: YES}.get(said, said)
        return {"caption": said}

    def _grounded_caption(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        caption = _caption(picture, rng)
        return {"caption": caption} | self._everything(picture, rng)

    def _tagged(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        tags = list(dict.fromkeys([*([picture.scene] if picture.scene else []), *_names(picture)]))
        kept = [tag for tag in tags if rng.random() >= self._noise.wrong] or tags[:1]
        if not kept:
            raise NoResult("the picture has no labels to tag it with")
        rng.shuffle(kept)
        scores = sorted((round(rng.uniform(0.55, 0.99), 4) for _ in kept), reverse=True)
        return {"tags": kept, "scores": scores}

    def _grounded_tags(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        tags = self._tagged(asked, picture, rng)["tags"]
        return {"tags": tags} | self._everything(picture, rng)

    def _everything(self, picture: LabelledPicture, rng: random.Random) -> Result:
        caption = " . ".join(dict.fromkeys(_names(picture)))
        return self._detected(Asked("grounding_dino", {"caption": caption}, picture), picture, rng)

    def _read(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        return {
            "boxes": [box for _, box in picture.lines],
            "texts": [text for text, _ in picture.lines],
            "scores": [round(rng.uniform(0.5, 0.99), 4) for _ in picture.lines],
        }

    def _known(self, asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
        query = str(asked.args.get("query", ""))
        items = picture.named(query) if query else sorted(picture.objects, key=lambda item: -item.area)
        if "entity" in picture.extra:
            return _entries([f"{picture.extra['entity']}: {picture.extra['answer']}"], rng)
        facts = list(self._facts.get(query, ())) or [fact for item in items[:1] for fact in item.facts]
        if not facts:
            raise NoResult("nothing is known of it")
        return _entries(facts, rng)

    def _shifted(self, box: Box, rng: random.Random) -> Box:
        moved = [min(max(side + rng.gauss(0.0, self._noise.shift), 0.0), 1.0) for side in box]
        x0, x1 = sorted((moved[0], moved[2]))
        y0, y1 = sorted((moved[1], moved[3]))
        return (x0, y0, x1, y1)


def _entries(facts: Sequence[str], rng: random.Random) -> Result:
    """The first facts as entries of an index."""
    scores = sorted((round(rng.uniform(0.4, 0.9), 4) for _ in facts), reverse=True)
    found = zip(facts[:_FACTS_MAX], scores, strict=False)
    return {
        "retrieval_results": [
            {"id": number, "caption": fact, "similarity": score} for number, (fact, score) in enumerate(found)
        ]
    }


def _painted(asked: Asked, picture: LabelledPicture, rng: random.Random) -> Result:
    return _painting(picture.size, rng)


def _painting(size: tuple[int, int], rng: random.Random) -> Result:
    width, height = size
    seed = rng.randrange(2**32)
    return {"edited_image": _handle(rng), "seed": seed, "steps": 16, "size": {"width": width, "height": height}}


def _handle(rng: random.Random) -> str:
    return f"img_{rng.getrandbits(160):040x}"


def _size(picture: LabelledPicture) -> Result:
    return {"size": {"width": picture.size[0], "height": picture.size[1]}}


def _names(picture: LabelledPicture) -> list[str]:
    return [item.noun.name for item in picture.objects]


def _caption(picture: LabelledPicture, rng: random.Random) -> str:
    if not picture.captions:
        raise NoResult("the picture has no caption")
    return rng.choice(picture.captions)


def _places(args: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The middles of what a call marks: boxes, lists of points, or points."""
    if args.get("boxes"):
        return [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in args["boxes"]]
    if args.get("points"):
        return [tuple(group[0]) for group in args["points"]]
    if args.get("point"):
        return [tuple(point) for point in args["point"]]
    raise NoResult("nothing is marked")


def _object_at(picture: LabelledPicture, place: tuple[float, float]) -> LabelledObject | None:
    """The smallest thing whose box holds the place."""
    x, y = place
    holding = [item for item in picture.objects if item.box[0] <= x <= item.box[2] and item.box[1] <= y <= item.box[3]]
    return min(holding, key=lambda item: item.area, default=None)


def _mask_at(picture: LabelledPicture, place: tuple[float, float]) -> Mask:
    item = _object_at(picture, place)
    if item is None:
        raise NoResult("nothing lies at the marked place")
    return _mask_of(picture, item)


def _mask_in(picture: LabelledPicture, box: Box) -> Mask:
    return _mask_at(picture, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def _mask_of(picture: LabelledPicture, item: LabelledObject) -> Mask:
    if item.mask is None:
        raise NoResult("the picture has no masks")
    return item.mask()


def _union(masks: Any) -> Mask:
    found: Mask = np.logical_or.reduce(list(masks))
    return found


def _box_of(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    height, width = mask.shape
    return (
        float(columns[0]) / width,
        float(rows[0]) / height,
        float(columns[-1] + 1) / width,
        float(rows[-1] + 1) / height,
    )


def _rle(mask: Mask) -> dict[str, Any]:
    return MaskRLE.from_array(mask).model_dump(mode="json")
