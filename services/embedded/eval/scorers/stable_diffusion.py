"""Pictures from prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from services.core.skill import SkillCall
from services.embedded.eval.judges import JUDGES, Judges, object_prompt
from services.embedded.eval.measures import mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.splits import Split, picture
from services.embedded.eval.targets import IN_STYLE
from services.embedded.training.diffusion.paintings import STYLE
from services.embedded.world.concepts import SIGN
from services.embedded.world.render import Rendered, render
from services.embedded.world.scene import Scene, SceneObject
from services.skills.stable_diffusion import StableDiffusionArgs

_SIZE = 0.55
_MIDDLE = (0.5, 0.58)


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing on a background; `scene` draws it as painters have seen such things."""

    item: SceneObject
    scene: Scene

    @property
    def prompt(self) -> str:
        return object_prompt(self.item.concept, self.item.colour, self.scene.background)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judges say of one picture."""

    scene: bool
    detector: bool
    clip: bool

    @property
    def found(self) -> bool:
        return self.detector and self.clip


class StableDiffusionScorer(Scorer):
    """Prompts name one thing (with its colour) and the background of a held-out scene, as in "a red car on a beach".
    The scene is right where CLIP takes the prompt's background for the nearest of the nine. The object is found where
    the detector, asked for all concepts, gives the prompted one a score of 0.3 or more and CLIP takes it for the
    nearest of all concepts. "On drawings" is what the same judges say of drawings of the same prompts: more cannot be
    expected of a painter. A prompt says nothing about the style, so that there is no unseen one.
    """

    skill = "stable_diffusion"
    judges = JUDGES
    splits = (IN_STYLE,)

    def score(self, skills: Asks, split: Split) -> Score:
        wishes = wishes_of(split)
        calls = (_call(wish, index) for index, wish in enumerate(wishes))
        painted = [result.edited_image for result in skills.ask(self.skill, calls, len(wishes))]
        drawings = [picture(render(wish.scene, atlas=split.atlas)) for wish in wishes]
        judges = Judges(skills)
        of_painted, of_drawings = (verdicts(judges, pictures, wishes) for pictures in (painted, drawings))
        return Score(
            figures={
                "scene": mean(one.scene for one in of_painted),
                "found": mean(one.found for one in of_painted),
                "detector": mean(one.detector for one in of_painted),
                "clip": mean(one.clip for one in of_painted),
                "scene_on_drawings": mean(one.scene for one in of_drawings),
                "found_on_drawings": mean(one.found for one in of_drawings),
            },
            counts={"pictures": len(wishes)},
            examples=[_example(*case) for case in zip(wishes, painted, of_painted, strict=True)],
        )

    def call(self, drawn: Rendered) -> SkillCall[StableDiffusionArgs]:
        return _call(wish_of(drawn, drawn.scene.objects[0]), 0)


def wishes_of(split: Split) -> list[Wish]:
    """One for each scene that has something other than a sign, up to the number of pictures to paint."""
    wishes: list[Wish] = []
    for index, drawn in enumerate(split.scenes):
        items = [item for item in drawn.scene.objects if item.concept != SIGN]
        if items and len(wishes) < split.painted:
            wishes.append(wish_of(drawn, items[int(split.rng(index).integers(len(items)))]))
    return wishes


def wish_of(drawn: Rendered, item: SceneObject) -> Wish:
    x, y = _MIDDLE
    alone = replace(item, style=STYLE, x=x, y=y, size=_SIZE, angle=0.0, flip=False, group=None)
    return Wish(item, replace(drawn.scene, objects=(alone,)))


def verdicts(judges: Judges, pictures: Sequence[Image.Image], wishes: Sequence[Wish]) -> list[Verdict]:
    """What the judges say of pictures that were made for wishes."""
    if not wishes:
        return []
    wanted = [wish.scene.background for wish in wishes]
    backgrounds = judges.backgrounds(pictures)
    concepts = judges.lone_concepts(pictures, [wish.item.colour for wish in wishes], wanted)
    detections = judges.detections(pictures)
    return [
        Verdict(
            scene=seen == background,
            detector=any(item.phrase == wish.item.concept for item in found),
            clip=concept == wish.item.concept,
        )
        for wish, seen, background, concept, found in zip(
            wishes, backgrounds, wanted, concepts, detections, strict=True
        )
    ]


def _call(wish: Wish, seed: int) -> SkillCall[StableDiffusionArgs]:
    return SkillCall(StableDiffusionArgs(prompt=wish.prompt, seed=seed, size=(256, 256)))


def _example(wish: Wish, painted: Image.Image, verdict: Verdict) -> Example:
    said = [
        f"scene {'right' if verdict.scene else 'wrong'}",
        f"detector: {'found' if verdict.detector else 'not found'}",
        f"CLIP: {'found' if verdict.clip else 'not found'}",
    ]
    score = mean([verdict.scene, verdict.detector, verdict.clip])
    return Example(score, [wish.prompt, ", ".join(said)], lambda: [painted])


SCORER = StableDiffusionScorer
