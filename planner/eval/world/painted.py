"""Questions whose answers are pictures: painted, edited, with something replaced, or anew from a map."""

from __future__ import annotations

from dataclasses import dataclass

from planner.eval.world import checks
from planner.eval.world.expected import SCENE_WORDS, call, cutting_out, editing_with, holding, painting, way
from planner.eval.world.looking import both, inside_only, paints_scene, said, shows
from planner.eval.world.turns import Given, Setting, Turn, inner_point
from services.embedded.world.concepts import COLOURS, CONCEPT, SIGN
from services.embedded.world.language import article

NEW_SCENES = ("night", "snow", "autumn", "desert", "underwater", "beach")
_PLACE = {
    "night": "at night",
    "snow": "in the snow",
    "autumn": "in autumn",
    "desert": "in a desert",
    "underwater": "under water",
    "beach": "on a beach",
}
_INTO = {
    "night": "night",
    "snow": "winter with snow",
    "autumn": "autumn",
    "desert": "a desert",
    "underwater": "an underwater scene",
    "beach": "a beach",
}


@dataclass(frozen=True)
class _Subject:
    """A concept to paint, in words that may begin with a colour."""

    name: str
    words: str

    @property
    def named(self) -> tuple[str, ...]:
        """What a prompt must hold."""
        colour, _, rest = self.words.partition(" ")
        return (colour, self.name) if rest and colour in COLOURS else (self.name,)


def _subject(at: Setting) -> _Subject | None:
    names = sorted(at.names - {SIGN})
    if not names:
        return None
    name = at.some(names)
    colour = f"{at.some(COLOURS)} " if CONCEPT[name].coloured else ""
    return _Subject(name, f"{colour}{CONCEPT[name].singular}")


def generation(at: Setting) -> list[Turn]:
    subject = _subject(at)
    if subject is None:
        return []
    scene = at.some(["snow", "beach", "night", "desert"])
    what, place = article(subject.words), _PLACE[scene]
    asked = at.one(f"Paint {what} {place}.", f"I'd like a picture of {what} {place}.", f"draw {subject.words} {place}")
    return [Turn(asked, shows(subject.name), accept=(painting(*subject.named, SCENE_WORDS[scene]),))]


def editing(at: Setting) -> list[Turn]:
    coloured = [(index, item) for index, item in at.lone if item.colour]
    if coloured and at.rng.random() < 0.5:
        _, item = at.some(coloured)
        colour = at.some([colour for colour in COLOURS if colour != item.colour])
        asked = at.one(f"Make the {item.concept} {colour}.", f"Could the {item.concept} be {colour} instead?")
        replaced = way(*(one for (one,) in cutting_out(item.concept)), call("inpainting", prompt=holding(colour)))
        accept = (editing_with(colour, item.concept), replaced)
        return [Turn(asked, shows(f"{colour} {item.concept}"), accept=accept)]
    scene = at.some([name for name in NEW_SCENES if name != at.drawn.scene.background])
    asked = at.one(f"Turn it into {_INTO[scene]}.", f"Change the scene to {_INTO[scene]}, please.")
    return [Turn(asked, paints_scene(scene), accept=(editing_with(SCENE_WORDS[scene]),))]


def segment_inpaint(at: Setting) -> list[Turn]:
    large = [(index, item) for index, item in at.lone if item.area > 0.02]
    if not large:
        return []
    index, item = at.some(large)
    new = at.some([name for name in ("dog", "cat", "balloon", "cactus", "car") if name != item.concept])
    mask = at.drawn.mask(index)
    asked = at.one(f"Replace what I clicked on with a {new}.", f"Put a {new} where my point is, instead of that thing.")
    accept = (way(call("sam", "points"), call("inpainting", prompt=holding(new))),)
    return [Turn(asked, inside_only(at.drawn.image, mask, new), Given(points=(inner_point(mask),)), accept)]


def segment_generate(at: Setting) -> list[Turn]:
    scene = at.some([name for name in NEW_SCENES if name != at.drawn.scene.background])
    if not at.drawn.objects:
        return []
    asked = at.one(
        f"Segment the picture, then paint a new one from the map: the same layout, but {_PLACE[scene]}.",
        f"Keep the layout and paint everything anew {_PLACE[scene]}, using a segmentation map.",
    )
    accept = (way(call("openseed"), call("controlnet", prompt=holding(SCENE_WORDS[scene]))),)
    return [Turn(asked, paints_scene(scene), accept=accept)]


def generate_post(at: Setting) -> list[Turn]:
    subject = _subject(at)
    if subject is None:
        return []
    what = article(subject.words)
    asked = at.one(
        f"Paint {what} and write a short post about it.",
        f"I want to post a picture of {what}: picture and words!",
    )
    check = both(shows(subject.name), said(lambda answer: checks.post_about(answer, [subject.name])))
    return [Turn(asked, check, accept=(painting(*subject.named),), ideal=f"Look at this lovely {subject.name} here!")]


def edit_post(at: Setting) -> list[Turn]:
    scene = at.some([name for name in ("night", "snow", "autumn") if name != at.drawn.scene.background])
    asked = at.one(
        f"Make it {_INTO[scene]} and write a caption for posting it.",
        f"Turn this into {_INTO[scene]}, then a few words for my blog.",
    )
    about = [*SCENE_WORDS[scene].split("|"), *sorted(at.names)]
    check = both(paints_scene(scene), said(lambda answer: checks.post_about(answer, about)))
    return [Turn(asked, check, accept=(editing_with(SCENE_WORDS[scene]),), ideal=f"What a lovely {scene} we have!")]
