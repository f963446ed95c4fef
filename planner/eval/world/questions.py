"""Questions about held-out scenes, for every row of LLaVA-Plus' Table 2, with checks of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from planner.eval.world import checks, painted
from planner.eval.world.expected import asking, call, cutting_out, describing, finding, looking_up, way
from planner.eval.world.looking import both, boxes, levels, mapped, masked, said
from planner.eval.world.turns import Check, Dialogue, Given, Scenes, Setting, Turn, inner_point
from services.core.types import MaskRLE
from services.embedded.world.concepts import CONCEPT, SIGN
from services.embedded.world.labels import tags
from services.embedded.world.language import article
from services.embedded.world.questions import position


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


def _detection(at: Setting) -> list[Turn]:
    if not at.names - {SIGN}:
        return []
    name = at.some(sorted(at.names - {SIGN}))
    places = [item.box for item in at.drawn.objects if item.concept == name]
    many = CONCEPT[name].plural
    if at.rng.random() < 0.5:
        asked = at.one(f"How many {many} do you find here?", f"Count all {many} for me, please.", f"number of {many}?")
        check = said(lambda answer: checks.count_is(answer, len(places)))
        return [Turn(asked, check, accept=(finding(name), asking(f"{name}|{many}")))]
    if len(places) == 1:
        asked = at.one(
            f"Whereabouts is the {name}?", f"Show me where the {name} is.", f"Could you put a box round the {name}?"
        )
        return [Turn(asked, boxes(places), accept=(finding(name),))]
    asked = at.one(f"Find all the {many}.", f"Draw boxes around the {many}, please.", f"detect {many}")
    return [Turn(asked, boxes(places), accept=(finding(name),))]


def _semantic_segmentation(at: Setting) -> list[Turn]:
    asked = at.one(
        "Which class does every pixel belong to?",
        "Please make a segmentation map of the entire picture.",
        "Colour each kind of area differently, all over the image.",
        "semantic map please",
    )
    share = float((at.drawn.instances == 0).mean())
    return [Turn(asked, mapped(at.drawn.scene.background, share, at.names), accept=(way(call("openseed")),))]


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
    return [Turn(asked, masked(at.drawn.mask(index)), accept=(cutting_out(item.concept),))]


def _caption_grounding(at: Setting) -> list[Turn]:
    asked = at.one(
        "Describe the picture and mark what you mention.",
        "What's going on here? Put boxes on the things you name.",
        "A caption with boxes for everything in it, please.",
    )
    check = both(said(lambda answer: checks.names(answer, at.names, 0.5)), boxes(at.boxes, 0.5))
    return [Turn(asked, check, accept=(way(call("blip2+grounding_dino")),))]


def _tagging_grounding(at: Setting) -> list[Turn]:
    asked = at.one(
        "List everything that's in there and show where each thing is.",
        "Which objects are there, and where? All of them, please.",
        "all objects with their boxes",
    )
    check = both(said(lambda answer: checks.names(answer, at.names, 0.5)), boxes(at.boxes, 0.5))
    return [Turn(asked, check, accept=(way(call("ram+grounding_dino")),))]


def _caption(at: Setting) -> list[Turn]:
    asked = at.one("What does this picture show?", "Describe this in a sentence.", "a caption, please")
    return [Turn(asked, said(lambda answer: checks.names(answer, at.names, 0.5)), accept=(describing(),))]


def _tagging(at: Setting) -> list[Turn]:
    there = [name for name in tags(at.drawn) if name in CONCEPT]
    asked = at.one("Give me tags for this image.", "Which keywords fit this?", "Keywords only: what's in the picture?")
    return [Turn(asked, said(lambda answer: checks.names(answer, there, 0.5)), accept=(way(call("ram")),))]


def _ocr(at: Setting) -> list[Turn]:
    signs = [item.text for item in at.drawn.objects if item.text]
    if len(signs) != 1:
        return []
    asked = at.one("What does the sign say?", "Read out the sign for me.", "what's written there", "Any words in it?")
    check = said(lambda answer: checks.words_read(answer, str(signs[0])))
    return [Turn(asked, check, accept=(way(call("easyocr")),))]


def _retrieval(at: Setting) -> list[Turn]:
    if len(at.names) != 1 or SIGN in at.names:
        return []
    (name,) = at.names
    asked = at.one(
        f"Look up something about this {name}.",
        "What is known about the thing in this picture? Please look it up.",
        "Find me a fact about what you see here.",
    )
    check = said(lambda answer: checks.tells_fact(answer, CONCEPT[name].facts))
    return [Turn(asked, check, accept=(looking_up(name),))]


def _clicked(at: Setting, skill: str, texts: Sequence[str], check: Callable[[int], Check]) -> list[Turn]:
    if not at.drawn.objects:
        return []
    index = int(at.rng.integers(len(at.drawn.objects)))
    given = Given(points=(inner_point(at.drawn.mask(index)),))
    return [Turn(at.some(texts), check(index), given, (way(call(skill, "points")),))]


def _interactive_segmentation(at: Setting) -> list[Turn]:
    if at.drawn.objects and at.rng.random() < 0.4:
        index = int(at.rng.integers(len(at.drawn.objects)))
        item = at.drawn.objects[index]
        asked = at.one("Segment what's inside my box.", "Cut out the thing that I framed.")
        accept = (way(call("sam", "boxes")),)
        return [Turn(asked, masked(at.drawn.mask(index)), Given(boxes=(item.box,)), accept)]
    texts = ("Cut out what I clicked on.", "The outline of the thing under my point, please.", "mask this")
    return _clicked(at, "sam", texts, lambda index: masked(at.drawn.mask(index), at.drawn.group_mask(index)))


def _multi_granularity(at: Setting) -> list[Turn]:
    texts = (
        "Give me masks of every size at my point.",
        "From the part to the whole: what could I have clicked on?",
        "all granularities here, please",
    )
    return _clicked(at, "semantic_sam", texts, lambda index: levels(at.drawn.mask(index)))


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
                    given, accept = Given(example=(other, code)), (way(call("seem")),)
                    return [Turn(asked, masked(at.drawn.mask(index)), given, accept)]
    return []


def _mixed_turns(at: Setting) -> list[Turn]:
    if len(at.lone) < 2:
        return []
    (_, one), (second, other) = at.lone[:2]
    names_half = said(lambda answer: checks.names(answer, at.names, 0.5))
    tagged = at.one("Which tags fit this?", "Keywords?")
    placed = at.one(f"Where's the {one.concept}?", f"box the {one.concept}")
    outlined = at.one(f"And now the outline of the {other.concept}.", f"now cut out the {other.concept}")
    summed = at.one("Sum it all up in a sentence.", "Describe the whole picture in one sentence.")
    return [
        Turn(tagged, names_half, accept=(way(call("ram")),)),
        Turn(placed, boxes([one.box]), accept=(finding(one.concept),)),
        Turn(outlined, masked(at.drawn.mask(second)), accept=(cutting_out(other.concept),)),
        Turn(summed, names_half, accept=(describing(), ())),
    ]


def _conversation(at: Setting) -> list[Turn]:
    """LLaVA's own row: questions that are answered in words, by the planner's own eyes or by asking the captioner."""
    coloured = [item for _, item in at.lone if item.colour]
    kind = int(at.rng.integers(4))
    if kind == 0 and coloured:
        item = at.some(coloured)
        check = said(lambda answer: checks.colour_is(answer, str(item.colour)))
        return [Turn(f"What colour is the {item.concept}?", check, accept=(asking("colour|color", item.concept), ()))]
    if kind == 1:
        name = at.some(sorted(at.names)) if at.names and at.rng.random() < 0.5 else at.some(_COMMON)
        asked = at.one(f"Is there any {name} in it?", f"Do you see {article(CONCEPT[name].singular)}?")
        check = said(lambda answer: checks.yes_or_no(answer, name in at.names))
        return [Turn(asked, check, accept=(asking(f"{name}|{CONCEPT[name].plural}"), finding(name), ()))]
    if kind == 2:
        scene = at.drawn.scene.background
        accept = (asking("place|where|scene|background"), way(call("ram")), ())
        return [Turn("What kind of place is this?", said(lambda answer: checks.scene_is(answer, scene)), accept=accept)]
    placed = [item for _, item in at.lone if position(item) is not None]
    if not placed:
        return []
    item = at.some(placed)
    asked = f"On which side of the picture is the {item.concept}: left, right, top, bottom, or in the middle?"
    check = said(lambda answer: checks.place_is(answer, item.box))
    return [Turn(asked, check, accept=(asking(item.concept), finding(item.concept), ()))]


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
    "generation": painted.generation,
    "editing": painted.editing,
    "interactive_segmentation": _interactive_segmentation,
    "multi_granularity": _multi_granularity,
    "example_segmentation": _example_segmentation,
    "mixed_turns": _mixed_turns,
    "segment_inpaint": painted.segment_inpaint,
    "segment_generate": painted.segment_generate,
    "generate_post": painted.generate_post,
    "edit_post": painted.edit_post,
    "conversation": _conversation,
}
WITHOUT_PICTURE = frozenset({"generation", "generate_post"})
