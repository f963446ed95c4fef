"""Words on signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.drawing import PROMPT, with_boxes
from services.embedded.eval.measures import Tally
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.splits import Split, picture
from services.embedded.world.render import Rendered
from services.skills.easyocr import EasyOcrArgs


class EasyOcrScorer(Scorer):
    """Scenes with a sign alone. A word counts as read where it comes back letter for letter, upper and lower case being
    the same; "case right" asks for that too. Boxes show the lines that were read.
    """

    skill = "easyocr"

    def score(self, skills: Asks, split: Split) -> Score:
        scenes = [drawn for drawn in split.scenes if written(drawn)]
        results = skills.ask(self.skill, map(self.call, scenes), len(scenes))
        plain, exact = Tally(), Tally()
        examples = []
        for drawn, result in zip(scenes, results, strict=True):
            read, wanted = words(result.texts), words(written(drawn))
            exact.add(read, wanted)
            plain.add(map(str.lower, read), map(str.lower, wanted))
            examples.append(_example(drawn, result, wanted))
        nothing = float("nan")
        return Score(
            figures={
                "words": plain.recall if scenes else nothing,
                "case": exact.recall if scenes else nothing,
                "precision": plain.precision if scenes else nothing,
            },
            counts={"signs": len(scenes), "words": plain.wanted},
            examples=examples,
        )

    def call(self, drawn: Rendered) -> SkillCall[EasyOcrArgs]:
        return SkillCall(EasyOcrArgs(), {Symbol.IMAGE: picture(drawn)})


def written(drawn: Rendered) -> list[str]:
    """What the scene's signs say."""
    return [item.text for item in drawn.objects if item.text]


def words(texts: Sequence[str]) -> list[str]:
    return [word for text in texts for word in text.split()]


def _example(drawn: Rendered, result: Any, wanted: Sequence[str]) -> Example:
    tally = Tally()
    tally.add((word.lower() for word in words(result.texts)), (word.lower() for word in wanted))

    def panels() -> list[Image.Image]:
        return [with_boxes(picture(drawn), [(box, "", PROMPT) for box in result.boxes])]

    caption = [f"read: {' / '.join(result.texts)}"]
    if tally.recall < 1.0:
        caption.append(f"written: {' '.join(wanted)}")
    return Example(tally.f1, caption, panels)


SCORER = EasyOcrScorer
