"""Edits: an instruction with the same scene before and after, for InstructPix2Pix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from services.embedded.world.atlas import Atlas
from services.embedded.world.concepts import COLOURS, CONCEPT, SIGN, SPRITE_NAMES, TRAIN_STYLES
from services.embedded.world.language import article
from services.embedded.world.render import SIZE, Rendered, render
from services.embedded.world.scene import Scene, SceneObject, sample_colour, sample_scene

SCENE_EDITS: Final = MappingProxyType(
    {"night": "night", "autumn": "autumn", "under water": "underwater"}
    | {name: name for name in ("snow", "beach", "desert", "grass", "city", "room")}
)
"""Kinds of edits that change the background, and the background that they lead to."""
_SCENE_SHARE: Final = 0.6
"""Of random edits, how many change the background."""

_MOVES: Final = {
    "night": (
        "make it night",
        "turn day into night",
        "change it to night",
        "show this at night",
        "what would it look like at night?",
        "make it a night scene",
        "let it be night",
        "put it under a night sky",
        "set the scene at night",
        "as if it were night",
        "add a night sky with stars",
        "make the picture look like night",
    ),
    "autumn": (
        "make it autumn",
        "turn it into autumn",
        "change the season to autumn",
        "show this in autumn",
        "what would it look like in autumn?",
        "make it an autumn scene",
        "let it be autumn",
        "put it among autumn leaves",
        "set the scene in autumn",
        "as if it were autumn",
        "add autumn leaves",
        "make the picture look like autumn",
    ),
    "under water": (
        "put it under water",
        "make it under water",
        "move the scene under water",
        "show this under water",
        "what would it look like under water?",
        "make it an underwater scene",
        "let it be under water",
        "put everything under the sea",
        "set the scene underwater",
        "as if it were under water",
        "flood the scene with water",
        "make the picture look like it is underwater",
    ),
    "snow": (
        "make it winter",
        "make it snow",
        "turn it into winter with snow",
        "turn it into a snowy scene",
        "change the season to winter",
        "change the scene to winter with snow",
        "show this in the snow",
        "what would it look like in the snow?",
        "let it snow",
        "put it in the snow",
        "set the scene in snow",
        "as if it were winter with snow",
        "add snow on the ground",
    ),
    "beach": (
        "put it on a beach",
        "turn it into a beach",
        "turn it into a beach scene",
        "change the scene to a beach",
        "move the scene to the beach",
        "show this at the beach",
        "what would it look like on a beach?",
        "make it a beach scene",
        "let it be a beach",
        "set the scene at a beach",
        "as if it were at the beach",
        "make the background a beach",
    ),
    "desert": (
        "put it in a desert",
        "turn it into a desert",
        "turn it into a desert scene",
        "change the scene to a desert",
        "move the scene to the desert",
        "show this in the desert",
        "what would it look like in a desert?",
        "make it a desert scene",
        "let it be a desert",
        "set the scene in a desert",
        "as if it were in the desert",
        "make the background a desert",
    ),
    "grass": (
        "put it on the grass",
        "turn it into a meadow",
        "turn it into a meadow with grass",
        "change the scene to green grass",
        "move the scene to a meadow of grass",
        "show this on the grass",
        "what would it look like on the grass?",
        "make it a grass scene",
        "let it be on green grass",
        "set the scene on the grass",
        "as if it were on the grass",
        "make the background green grass",
    ),
    "city": (
        "put it in a city",
        "turn it into a city",
        "turn it into a city scene",
        "change the scene to a city",
        "move the scene to the city",
        "show this in the city",
        "what would it look like in a city?",
        "make it a city scene",
        "let it be a city",
        "set the scene on a city street",
        "as if it were in the city",
        "make the background a city",
    ),
    "room": (
        "put it in a room",
        "turn it into a room",
        "turn it into a living room",
        "change the scene to a room",
        "move the scene into a room",
        "show this in a room",
        "what would it look like in a room?",
        "make it a room",
        "let it be inside a room",
        "set the scene in a living room",
        "as if it were in a room",
        "make the background a room",
    ),
}
_RECOLOUR: Final = (
    "make the {old} {thing} {new}",
    "make the {thing} {new}",
    "turn the {thing} {new}",
    "turn the {old} {thing} {new}",
    "paint the {thing} {new}",
    "change the {thing} to {new}",
    "change the color of the {thing} to {new}",
    "change the {old} {thing} to a {new} one",
    "color the {thing} {new}",
    "the {thing} should be {new}",
    "give the {thing} a {new} color",
    "i want the {thing} to be {new}",
)
_SWAP: Final = (
    "replace the {thing} with {new}",
    "swap the {thing} for {new}",
    "turn the {thing} into {new}",
    "change the {thing} to {new}",
    "change the {thing} into {new}",
    "make the {thing} {new}",
    "put {new} in place of the {thing}",
    "instead of the {thing} show {new}",
    "exchange the {thing} for {new}",
    "there should be {new} instead of the {thing}",
    "i want {new} instead of the {thing}",
    "remove the {thing} and put {new} there",
)
_POLITE: Final = ("{}", "{}", "{}", "{}", "please {}", "{} please", "can you {}?")
_REQUESTS: Final = (
    *("make ", "turn ", "change ", "show ", "put ", "set ", "add ", "move ", "flood ", "paint ", "color ", "give "),
    *("replace ", "swap ", "exchange ", "remove "),
)
"""How instructions start that can be said politely."""
_TRIES: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class EditPair:
    """An instruction and what it does.

    Attributes:
        instruction: lowercase words.
        before, after: the same scene, but for what the instruction changes. Both have the same objects in the same
            order at the same places; labels of both are exact.
        kind: one of `KINDS`.
        object: index of the object that changes, None where the background does.
    """

    instruction: str
    before: Rendered
    after: Rendered
    kind: str
    object: int | None


@dataclass(frozen=True, slots=True)
class _Change:
    scene: Scene
    instruction: str
    object: int | None = None


def sample_edit(
    rng: np.random.Generator | int,
    styles: Sequence[str] = TRAIN_STYLES,
    size: int = SIZE,
    kind: str | None = None,
    atlas: Atlas | None = None,
) -> EditPair:
    """A random edit of a random scene; the same generator state (or seed) gives the same pair.

    Args:
        kind: one of `KINDS`; drawn at random without it.

    Raises:
        KeyError: there is no such kind.
        WorldNotReady: as `render`.
    """
    if isinstance(rng, int):
        rng = np.random.default_rng(rng)
    kind = kind or _pick(rng, tuple(SCENE_EDITS) if rng.random() < _SCENE_SHARE else OBJECT_EDITS)
    for _ in range(_TRIES):
        scene = sample_scene(rng, styles)
        # Asking first saves drawing the many scenes without a coloured object.
        if KINDS[kind](scene, rng) is None:
            continue
        pair = edit(render(scene, size, atlas), kind, rng, atlas)
        if pair is not None:
            return pair
    raise RuntimeError(f"{_TRIES} scenes in a row allowed no edit {kind!r}")


def edit(before: Rendered, kind: str, rng: np.random.Generator, atlas: Atlas | None = None) -> EditPair | None:
    """An edit of a drawn scene, or None where it allows none of that kind.

    The instruction must say clearly what changes: an object is only recoloured or swapped where its concept occurs
    once, and a scene is not moved to where it is. Objects must stay visible.
    """
    change = KINDS[kind](before.scene, rng)
    if change is None:
        return None
    after = render(change.scene, before.image.shape[0], atlas)
    if len(after.objects) != len(before.objects):
        return None
    form = _pick(rng, _POLITE) if change.instruction.startswith(_REQUESTS) else "{}"
    return EditPair(form.format(change.instruction), before, after, kind, change.object)


def _move(kind: str) -> Callable[[Scene, np.random.Generator], _Change | None]:
    def change(scene: Scene, rng: np.random.Generator) -> _Change | None:
        background = SCENE_EDITS[kind]
        if scene.background == background:
            return None
        return _Change(replace(scene, background=background), _pick(rng, _MOVES[kind]))

    return change


def _recolour(scene: Scene, rng: np.random.Generator) -> _Change | None:
    choices = [index for index in _lone(scene) if scene.objects[index].colour]
    if not choices:
        return None
    index = choices[int(rng.integers(len(choices)))]
    item = scene.objects[index]
    new = _pick(rng, [colour for colour in COLOURS if colour != item.colour])
    words = _pick(rng, _RECOLOUR).format(thing=item.concept, old=item.colour, new=new)
    return _Change(_with(scene, index, replace(item, colour=new)), words.replace(" a orange", " an orange"), index)


def _swap(scene: Scene, rng: np.random.Generator) -> _Change | None:
    choices = [index for index in _lone(scene) if scene.objects[index].concept != SIGN]
    if not choices:
        return None
    index = choices[int(rng.integers(len(choices)))]
    item = scene.objects[index]
    present = {other.concept for other in scene.objects}
    name = _pick(rng, [other for other in SPRITE_NAMES if other not in present])
    swapped = replace(item, concept=name, colour=sample_colour(rng, name))
    phrase = f"{swapped.colour} {CONCEPT[name].singular}" if swapped.colour else CONCEPT[name].singular
    words = _pick(rng, _SWAP).format(thing=item.concept, new=article(phrase))
    return _Change(_with(scene, index, swapped), words, index)


def _lone(scene: Scene) -> list[int]:
    counts = Counter(item.concept for item in scene.objects)
    return [index for index, item in enumerate(scene.objects) if counts[item.concept] == 1]


def _with(scene: Scene, index: int, item: SceneObject) -> Scene:
    return replace(scene, objects=(*scene.objects[:index], item, *scene.objects[index + 1 :]))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


KINDS: Final = MappingProxyType[str, Callable[[Scene, np.random.Generator], _Change | None]](
    {kind: _move(kind) for kind in SCENE_EDITS} | {"recolour": _recolour, "swap": _swap}
)
"""What each kind of edit does to a scene; None where a scene does not allow it."""
OBJECT_EDITS: Final = tuple(kind for kind in KINDS if kind not in SCENE_EDITS)
"""Kinds of edits that change one object."""
