"""Scenes as data, and the seeded generator of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.embedded.world.concepts import BACKGROUNDS, COLOURS, CONCEPT, CONCEPTS, SIGN, SPRITE_NAMES, TRAIN_STYLES
from services.embedded.world.signs import DESIGNS, LEAST_LETTERS, WORDS, sign_shape

LEAST_SIZE: Final = 0.12
LARGEST_SIZE: Final = 0.55
MOST_OBJECTS: Final = 6
_COUNT_WEIGHTS: Final = (0.16, 0.23, 0.23, 0.18, 0.12, 0.08)
_FITTING_SHARE: Final = 0.72
"""How often a concept is one that fits the background."""
_GROUP_SHARE: Final = 0.25
_SIGN_SHARE: Final = 0.2
_PLACING_TRIES: Final = 14
_FLYING: Final = frozenset(
    [
        "eagle",
        "owl",
        "bee",
        "butterfly",
        "airplane",
        "helicopter",
        "rocket",
        "balloon",
        "ghost",
        "alien",
        "bulb",
        "ladybug",
    ]
)


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One thing in a scene. Places and sizes are shares of the picture's side, origin top left.

    Attributes:
        concept: a name of `concepts.NAMES`.
        style: the sprite style; empty for a sign.
        colour: one of `concepts.COLOURS` for coloured concepts, else None.
        x, y: the centre.
        size: the longer side before rotation.
        angle: degrees, counter-clockwise.
        flip: mirrored left to right.
        group: number of the cluster that it belongs to, or None.
        text: what a sign says, lines separated by newlines; None for everything else.
        design: which board a sign has.
    """

    concept: str
    style: str
    colour: str | None
    x: float
    y: float
    size: float
    angle: float = 0.0
    flip: bool = False
    group: int | None = None
    text: str | None = None
    design: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """All that decides a picture; `render.render` draws it, later objects over earlier ones.

    Attributes:
        background, background_seed: what `backgrounds.draw_background` takes.
        gain, bias, noise: brightness factor, offset and standard deviation of noise, in grey levels of 255.
    """

    background: str
    background_seed: int
    objects: tuple[SceneObject, ...]
    gain: float = 1.0
    bias: float = 0.0
    noise: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible form without what has its default value."""
        data = asdict(self)
        plain = SceneObject("", "", None, 0.0, 0.0, 0.0)
        data["objects"] = [
            {
                key: value
                for key, value in asdict(item).items()
                if value != getattr(plain, key) or key in ("x", "y", "size", "style", "colour")
            }
            for item in self.objects
        ]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Scene:
        """The inverse of `to_json`."""
        return cls(**(data | {"objects": tuple(SceneObject(**item) for item in data["objects"])}))


def scene_rng(seed: int, index: int) -> np.random.Generator:
    """The generator of scene `index` of the data set `seed`: any scene can be made without those before it."""
    return np.random.default_rng([seed, index])


def sample_scene(rng: np.random.Generator | int, styles: Sequence[str] = TRAIN_STYLES) -> Scene:
    """A random scene of 1 to 6 objects; the same generator state (or seed) gives the same scene.

    Objects overlap little on purpose; what `render` finds to be nearly hidden all the same, it leaves out.
    """
    if isinstance(rng, int):
        rng = np.random.default_rng(rng)
    background = _pick(rng, BACKGROUNDS)
    count = int(rng.choice(MOST_OBJECTS, p=_COUNT_WEIGHTS)) + 1
    scene_styles = (_pick(rng, styles),) if rng.random() < 0.5 else tuple(styles)
    placed: list[SceneObject] = []
    sign = _sign(rng) if rng.random() < _SIGN_SHARE else None
    if sign is not None:
        placed.append(sign)
    if count - len(placed) >= 2 and rng.random() < _GROUP_SHARE:
        members = int(rng.integers(2, min(count - len(placed), 4) + 1))
        placed.extend(_group(rng, background, scene_styles, members, placed))
    while len(placed) < count:
        thing = _thing(rng, background, _pick(rng, scene_styles), count)
        found = _place(rng, thing, placed)
        if found is None:
            break
        placed.append(found)
    # What stands lower is nearer; a sign is never covered.
    placed.sort(key=lambda item: (item.concept == SIGN, item.y + item.size / 2))
    return Scene(
        background=background,
        background_seed=int(rng.integers(2**31)),
        objects=tuple(placed),
        gain=round(float(rng.uniform(0.9, 1.08)), 3),
        bias=round(float(rng.uniform(-10.0, 10.0)), 2),
        noise=round(float(rng.uniform(0.0, 5.0)), 2),
    )


def sample_concept(rng: np.random.Generator, background: str) -> str:
    """A concept with a sprite, most often one that fits the background."""
    if rng.random() >= _FITTING_SHARE:
        return _pick(rng, SPRITE_NAMES)
    names, limits = _FITTING[background]
    return names[int(np.searchsorted(limits, rng.random(), side="right"))]


def sample_colour(rng: np.random.Generator, concept: str) -> str | None:
    return _pick(rng, COLOURS) if CONCEPT[concept].coloured else None


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _thing(rng: np.random.Generator, background: str, style: str, count: int) -> SceneObject:
    """An object that has no place yet."""
    concept = sample_concept(rng, background)
    largest = LARGEST_SIZE if count <= 2 else 0.46 if count <= 4 else 0.36
    return SceneObject(
        concept=concept,
        style=style,
        colour=sample_colour(rng, concept),
        x=0.5,
        y=0.5,
        size=round(LEAST_SIZE + (largest - LEAST_SIZE) * float(rng.uniform()) ** 1.3, 4),
        angle=round(float(rng.uniform(-20.0, 20.0)), 1) if rng.random() < 0.75 else 0.0,
        flip=bool(rng.random() < 0.5),
    )


def _place(rng: np.random.Generator, thing: SceneObject, others: Sequence[SceneObject]) -> SceneObject | None:
    """The object at the first random place where it overlaps little, or None where there is none."""
    allowed = 0.45 if rng.random() < 0.4 else 0.12
    cut_off = rng.random() < 0.12
    for attempt in range(_PLACING_TRIES):
        inset = thing.size * (0.2 if cut_off else 0.48)
        x = float(rng.uniform(inset, 1.0 - inset))
        if thing.concept in _FLYING or rng.random() < 0.15:
            y = float(rng.uniform(inset, max(0.8 - inset, inset + 0.05)))
        else:
            y = float(rng.uniform(min(max(0.52, inset + 0.02), 1.0 - inset), 1.0 - inset + 0.01))
            y = max(y - 0.4 * thing.size, inset)
        moved = replace(thing, x=round(x, 4), y=round(y, 4))
        limit = allowed + 0.02 * attempt
        if all(_covered(moved, other) <= (0.0 if other.concept == SIGN else limit) for other in others):
            return moved
    return None


def _covered(one: SceneObject, other: SceneObject) -> float:
    """The overlap of two objects' squares as a share of the smaller; sprites fill about 0.9 of theirs."""
    width = min(one.x + 0.45 * one.size, other.x + 0.45 * other.size)
    width -= max(one.x - 0.45 * one.size, other.x - 0.45 * other.size)
    height = min(one.y + 0.45 * one.size, other.y + 0.45 * other.size)
    height -= max(one.y - 0.45 * one.size, other.y - 0.45 * other.size)
    if width <= 0.0 or height <= 0.0:
        return 0.0
    return width * height / (0.81 * min(one.size, other.size) ** 2)


def _group(
    rng: np.random.Generator, background: str, styles: Sequence[str], members: int, others: Sequence[SceneObject]
) -> list[SceneObject]:
    """Several of one concept side by side, or nothing where there is no room."""
    first = _thing(rng, background, _pick(rng, styles), 6)
    size = min(first.size, 0.78 / members)
    step = size * float(rng.uniform(0.82, 1.05))
    width = step * (members - 1) + size
    left = float(rng.uniform(0.0, max(1.0 - width, 0.0))) + size / 2
    middle = float(rng.uniform(max(0.45, size / 2), 1.0 - size * 0.65))
    found = []
    for member in range(members):
        own = round(size * float(rng.uniform(0.88, 1.1)), 4)
        found.append(
            replace(
                first,
                x=round(left + member * step, 4),
                y=round(middle + float(rng.uniform(-0.18, 0.18)) * size, 4),
                size=own,
                angle=round(float(rng.uniform(-12.0, 12.0)), 1),
                flip=bool(rng.random() < 0.5),
                group=0,
            )
        )
    if any(_covered(one, other) > 0.0 for one in found for other in others):
        return []
    return found


def _sign(rng: np.random.Generator) -> SceneObject:
    """A sign that lies wholly inside the picture, its letters at least `LEAST_LETTERS` high."""
    count = int(rng.choice(3, p=(0.5, 0.35, 0.15))) + 1
    case = (str.upper, str.capitalize, str.lower)[int(rng.choice(3, p=(0.55, 0.3, 0.15)))]
    words = [case(str(word)) for word in rng.choice(np.array(WORDS), count, replace=False)]
    text = "\n".join(words)
    shape = sign_shape(text)
    size = shape.size_for(float(rng.uniform(LEAST_LETTERS * 1.02, LEAST_LETTERS * 1.6)))
    size = max(min(size, 0.62), shape.size_for(LEAST_LETTERS))
    longest = max(shape.width, shape.height)
    half_width, half_height = size * shape.width / longest / 2 + 0.02, size * shape.height / longest / 2 + 0.02
    return SceneObject(
        concept=SIGN,
        style="",
        colour=None,
        x=round(float(rng.uniform(half_width, max(1.0 - half_width, half_width))), 4),
        y=round(float(rng.uniform(max(half_height, 0.25), max(1.0 - half_height, 0.3))), 4),
        size=round(size, 4),
        angle=round(float(rng.uniform(-4.0, 4.0)), 1),
        text=text,
        design=int(rng.integers(DESIGNS)),
    )


def _fitting(background: str) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The concepts that fit a background, and where each one's share of 0..1 ends.

    A concept that fits many backgrounds is drawn less often on each, so that all are seen about as often.
    """
    found = [item for item in CONCEPTS if item.codepoint and background in item.backgrounds]
    ends = np.cumsum([1.0 / len(item.backgrounds) for item in found])
    return tuple(item.name for item in found), ends / ends[-1]


_FITTING: Final = MappingProxyType({background: _fitting(background) for background in BACKGROUNDS})
