"""Questions about held-out scenes, for every row of LLaVA-Plus' Table 2, with checks of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from planner.eval.gateway import Reply
from planner.eval.world import checks
from planner.eval.world.looking import both, boxes, inside_only, levels, masked, paints_scene, said, shows
from planner.eval.world.turns import Check, Dialogue, Eyes, Given, Scenes, Setting, Turn
from services.core.types import MaskRLE
from services.embedded.world.concepts import COLOURS, CONCEPT, SIGN
from services.embedded.world.labels import tags
from services.embedded.world.questions import position

NEW_SCENES = ("night", "snow", "autumn", "desert", "underwater", "beach")


def dialogues(scenes: Scenes, each: int, seed: int = 0) -> list[Dialogue]:
    """At least `each` questions of every row, the same for the same arguments; other scenes are passed over."""
    made: list[Dialogue] = []
    number = 0
    for row, make in ROWS.items():
        questions, tries = 0, 0
        while questions < each:
            setting = Setting(number, scenes[number], np.random.default_rng([seed, number]), scenes)
            number, tries = number + 1, tries + 1
            if tries > 200 * each:
                raise ValueError(f"{row}: the scenes do not fit")
            turns = make(setting)
            if turns:
                shown = None if row in WITHOUT_PICTURE else setting.number
                made.append(Dialogue(f"{row}-{setting.number}", row, shown, tuple(turns)))
                questions += len(turns)
    return made


def _inner_point(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The point of a mask that is farthest from its edge, as [x, y] of 0..1."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return round((int(x) + 0.5) / mask.shape[1], 2), round((int(y) + 0.5) / mask.shape[0], 2)


def _detection(at: Setting) -> list[Turn]:
    if not at.names - {SIGN}:
        return []
    name = at.some(sorted(at.names - {SIGN}))
    places = [item.box for item in at.drawn.objects if item.concept == name]
    many = CONCEPT[name].plural
    if at.rng.random() < 0.5:
        asked = at.one(f"How many {many} do you find here?", f"Count all {many} for me, please.", f"number of {many}?")
        return [Turn(asked, said(lambda answer: checks.count_is(answer, len(places))))]
    if len(places) == 1:
        asked = at.one(
            f"Whereabouts is the {name}?", f"Show me where the {name} is.", f"Could you put a box round the {name}?"
        )
        return [Turn(asked, boxes(places))]
    asked = at.one(f"Find all the {many}.", f"Draw boxes around the {many}, please.", f"detect {many}")
    return [Turn(asked, boxes(places))]


def _semantic_segmentation(at: Setting) -> list[Turn]:
    background = at.drawn.scene.background
    share = float((at.drawn.instances == 0).mean())

    async def checked(reply: Reply, eyes: Eyes) -> str:
        for result in reversed(reply.results("openseed")):
            areas = {label["name"]: label["area"] for label in result["labels"]}
            found = areas.get(background, 0.0)
            return "" if abs(found - share) <= 0.15 else f"{background} {found:.2f} of the picture, it is {share:.2f}"
        return "no map"

    asked = at.one(
        "Which class does every pixel belong to?",
        "Please make a segmentation map of the entire picture.",
        "Colour each kind of area differently, all over the image.",
        "semantic map please",
    )
    return [Turn(asked, checked)]


def _instance_segmentation(at: Setting) -> list[Turn]:
    if not at.lone:
        return []
    index, item = at.some(at.lone)
    asked = at.one(
        f"Cut the {item.concept} out for me.",
        f"I need the exact outline of the {item.concept}.",
        f"Give me a mask for the {item.concept}, please.",
        f"segment the {item.concept}",
    )
    return [Turn(asked, masked(at.drawn.mask(index)))]


def _caption_grounding(at: Setting) -> list[Turn]:
    asked = at.one(
        "Describe the picture and mark what you mention.",
        "What's going on here? Put boxes on the things you name.",
        "A caption with boxes for everything in it, please.",
    )
    return [Turn(asked, both(said(lambda answer: checks.names(answer, at.names, 0.5)), boxes(at.boxes, 0.5)))]


def _tagging_grounding(at: Setting) -> list[Turn]:
    asked = at.one(
        "List everything that's in there and show where each thing is.",
        "Which objects are there, and where? All of them, please.",
        "all objects with their boxes",
    )
    return [Turn(asked, both(said(lambda answer: checks.names(answer, at.names, 0.5)), boxes(at.boxes, 0.5)))]


def _caption(at: Setting) -> list[Turn]:
    asked = at.one("What does this picture show?", "Describe this in a sentence.", "a caption, please")
    return [Turn(asked, said(lambda answer: checks.names(answer, at.names, 0.5)))]


def _tagging(at: Setting) -> list[Turn]:
    there = [name for name in tags(at.drawn) if name in CONCEPT]
    asked = at.one("Give me tags for this image.", "Which keywords fit this?", "Keywords only: what's in the picture?")
    return [Turn(asked, said(lambda answer: checks.names(answer, there, 0.5)))]


def _ocr(at: Setting) -> list[Turn]:
    signs = [item.text for item in at.drawn.objects if item.text]
    if len(signs) != 1:
        return []
    asked = at.one("What does the sign say?", "Read out the sign for me.", "what's written there", "Any words in it?")
    return [Turn(asked, said(lambda answer: checks.words_read(answer, str(signs[0]))))]


def _retrieval(at: Setting) -> list[Turn]:
    if len(at.names) != 1 or SIGN in at.names:
        return []
    (name,) = at.names
    asked = at.one(
        f"Look up something about this {name}.",
        "What is known about the thing in this picture? Please look it up.",
        "Find me a fact about what you see here.",
    )
    return [Turn(asked, said(lambda answer: checks.tells_fact(answer, CONCEPT[name].facts)))]


def _painted(at: Setting) -> tuple[str, str] | None:
    """A concept to paint, with a colour where it comes in some: (name, phrase)."""
    names = sorted(at.names - {SIGN})
    if not names:
        return None
    name = at.some(names)
    colour = f"{at.some(COLOURS)} " if CONCEPT[name].coloured else ""
    return name, f"{colour}{CONCEPT[name].singular}"


def _generation(at: Setting) -> list[Turn]:
    painted = _painted(at)
    if painted is None:
        return []
    name, phrase = painted
    place = at.some(["in the snow", "on a beach", "at night", "in a desert"])
    asked = at.one(f"Paint a {phrase} {place}.", f"I'd like a picture of a {phrase} {place}.", f"draw {phrase} {place}")
    return [Turn(asked, shows(name))]


def _editing(at: Setting) -> list[Turn]:
    coloured = [(index, item) for index, item in at.lone if item.colour]
    if coloured and at.rng.random() < 0.5:
        _, item = at.some(coloured)
        colour = at.some([colour for colour in COLOURS if colour != item.colour])
        asked = at.one(f"Make the {item.concept} {colour}.", f"Could the {item.concept} be {colour} instead?")
        return [Turn(asked, shows(f"{colour} {item.concept}"))]
    scene = at.some([name for name in NEW_SCENES if name != at.drawn.scene.background])
    words = {"night": "night", "snow": "winter with snow", "autumn": "autumn", "desert": "a desert"}
    asked = at.one(
        f"Turn it into {words.get(scene, scene)}.", f"Change the scene to {words.get(scene, scene)}, please."
    )
    return [Turn(asked, paints_scene(scene))]


def _clicked(at: Setting, texts: Sequence[str], check: Callable[[int], Check]) -> list[Turn]:
    if not at.drawn.objects:
        return []
    index = int(at.rng.integers(len(at.drawn.objects)))
    given = Given(points=(_inner_point(at.drawn.mask(index)),))
    return [Turn(at.some(texts), check(index), given)]


def _interactive_segmentation(at: Setting) -> list[Turn]:
    if at.drawn.objects and at.rng.random() < 0.4:
        index = int(at.rng.integers(len(at.drawn.objects)))
        item = at.drawn.objects[index]
        asked = at.one("Segment what's inside my box.", "Cut out the thing that I framed.")
        return [Turn(asked, masked(at.drawn.mask(index)), Given(boxes=(item.box,)))]
    texts = ("Cut out what I clicked on.", "The outline of the thing under my point, please.", "mask this")
    return _clicked(at, texts, lambda index: masked(at.drawn.mask(index), at.drawn.group_mask(index)))


def _multi_granularity(at: Setting) -> list[Turn]:
    texts = (
        "Give me masks of every size at my point.",
        "From the part to the whole: what could I have clicked on?",
        "all granularities here, please",
    )
    return _clicked(at, texts, lambda index: levels(at.drawn.mask(index)))


def _example_segmentation(at: Setting) -> list[Turn]:
    wanted = [(index, item) for index, item in at.lone]
    for other in range(at.number + 1000, at.number + 1060):
        example = at.scenes[other]
        for place, shown in enumerate(example.objects):
            for index, item in wanted:
                if item.concept == shown.concept and item.colour == shown.colour and shown.area > 0.02:
                    code = MaskRLE.from_array(example.mask(place)).model_dump(mode="json")
                    asked = at.one(
                        "Find in this picture what is marked in the example.",
                        "The same thing as in my example, please.",
                    )
                    return [Turn(asked, masked(at.drawn.mask(index)), Given(example=(other, code)))]
    return []


def _mixed_turns(at: Setting) -> list[Turn]:
    if len(at.lone) < 2:
        return []
    (_, one), (second, other) = at.lone[:2]
    return [
        Turn(at.one("Which tags fit this?", "Keywords?"), said(lambda answer: checks.names(answer, at.names, 0.5))),
        Turn(at.one(f"Where's the {one.concept}?", f"box the {one.concept}"), boxes([one.box])),
        Turn(
            at.one(f"And now the outline of the {other.concept}.", f"now cut out the {other.concept}"),
            masked(at.drawn.mask(second)),
        ),
        Turn(
            at.one("Sum it all up in a sentence.", "Describe the whole picture in one sentence."),
            said(lambda answer: checks.names(answer, at.names, 0.5)),
        ),
    ]


def _segment_inpaint(at: Setting) -> list[Turn]:
    large = [(index, item) for index, item in at.lone if item.area > 0.02]
    if not large:
        return []
    index, item = at.some(large)
    new = at.some(
        [
            name
            for name in ("dog", "cat", "ball", "balloon", "cactus", "car")
            if name != item.concept and name in CONCEPT
        ]
    )
    mask = at.drawn.mask(index)
    asked = at.one(f"Replace what I clicked on with a {new}.", f"Put a {new} where my point is, instead of that thing.")
    return [Turn(asked, inside_only(at.drawn.image, mask, new), Given(points=(_inner_point(mask),)))]


def _segment_generate(at: Setting) -> list[Turn]:
    scene = at.some([name for name in NEW_SCENES if name != at.drawn.scene.background])
    if not at.drawn.objects:
        return []
    asked = at.one(
        f"Segment the picture, then paint a new one from the map: the same layout, but {_PLACE[scene]}.",
        f"Keep the layout and paint everything anew {_PLACE[scene]}, using a segmentation map.",
    )
    return [Turn(asked, paints_scene(scene))]


_PLACE = {
    "night": "at night",
    "snow": "in the snow",
    "autumn": "in autumn",
    "desert": "in a desert",
    "underwater": "under water",
    "beach": "on a beach",
}


def _generate_post(at: Setting) -> list[Turn]:
    painted = _painted(at)
    if painted is None:
        return []
    name, phrase = painted
    asked = at.one(
        f"Paint a {phrase} and write a short post about it.",
        f"I want to post a picture of a {phrase}: picture and words!",
    )
    return [Turn(asked, both(shows(name), said(lambda answer: checks.post_about(answer, [name]))))]


def _edit_post(at: Setting) -> list[Turn]:
    scene = at.some([name for name in ("night", "snow", "autumn") if name != at.drawn.scene.background])
    words = {"night": "night", "snow": "winter with snow", "autumn": "autumn"}[scene]
    asked = at.one(
        f"Make it {words} and write a caption for posting it.", f"Turn this into {words}, then a few words for my blog."
    )
    about = [scene, "winter", *sorted(at.names)]
    return [Turn(asked, both(paints_scene(scene), said(lambda answer: checks.post_about(answer, about))))]


def _conversation(at: Setting) -> list[Turn]:
    """LLaVA's own row: questions that are answered in words."""
    coloured = [item for _, item in at.lone if item.colour]
    kind = int(at.rng.integers(4))
    if kind == 0 and coloured:
        item = at.some(coloured)
        colour = str(item.colour)
        return [Turn(f"What colour is the {item.concept}?", said(lambda answer: checks.colour_is(answer, colour)))]
    if kind == 1:
        name = at.some(sorted(at.names)) if at.names and at.rng.random() < 0.5 else at.some(_COMMON)
        asked = at.one(f"Is there any {name} in it?", f"Do you see a {name}?")
        return [Turn(asked, said(lambda answer: checks.yes_or_no(answer, name in at.names)))]
    if kind == 2:
        scene = at.drawn.scene.background
        return [Turn("What kind of place is this?", said(lambda answer: checks.scene_is(answer, scene)))]
    placed = [item for _, item in at.lone if position(item) is not None]
    if not placed:
        return []
    item = at.some(placed)
    asked = f"On which side of the picture is the {item.concept}: left, right, top, bottom, or in the middle?"
    return [Turn(asked, said(lambda answer: checks.place_is(answer, item.box)))]


_COMMON = ("dog", "cat", "car", "horse", "apple", "fish")

ROWS: dict[str, Callable[[Setting], list[Turn]]] = {
    "detection": _detection,
    "semantic_segmentation": _semantic_segmentation,
    "instance_segmentation": _instance_segmentation,
    "caption_grounding": _caption_grounding,
    "tagging_grounding": _tagging_grounding,
    "caption": _caption,
    "tagging": _tagging,
    "ocr": _ocr,
    "retrieval": _retrieval,
    "generation": _generation,
    "editing": _editing,
    "interactive_segmentation": _interactive_segmentation,
    "multi_granularity": _multi_granularity,
    "example_segmentation": _example_segmentation,
    "mixed_turns": _mixed_turns,
    "segment_inpaint": _segment_inpaint,
    "segment_generate": _segment_generate,
    "generate_post": _generate_post,
    "edit_post": _edit_post,
    "conversation": _conversation,
}
WITHOUT_PICTURE = frozenset({"generation", "generate_post"})
