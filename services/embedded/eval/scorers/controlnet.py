"""Pictures that follow a segmentation map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.drawing import with_title
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.scorers.openseed import ids_of, named_map
from services.embedded.eval.splits import Split
from services.embedded.eval.targets import IN_STYLE
from services.embedded.training.segments import CLASSES, ClassIoU, class_map
from services.embedded.world.language import plain_caption
from services.embedded.world.render import Rendered
from services.models.palette import paint
from services.skills.controlnet import ControlNetArgs
from services.skills.openseed import OpenSeedArgs


class ControlNetScorer(Scorer):
    """The exact map of a held-out scene is given with its caption; openseed maps what was painted. mIoU is the mean
    over classes of the overlap of the two maps, pixels counted over all pictures; openseed's own figure bounds it. A
    map has no style, so that there is no unseen one. Each case shows the given map and the painted picture.
    """

    skill = "controlnet"
    judges = ("openseed",)
    splits = (IN_STYLE,)

    def score(self, skills: Asks, split: Split) -> Score:
        scenes = split.scenes[: split.painted]
        maps = [class_map(drawn, drawn.instances) for drawn in scenes]
        painted = [
            result.edited_image
            for result in skills.ask(self.skill, map(_call, scenes, range(len(scenes))), len(scenes))
        ]
        seen = skills.ask("openseed", (SkillCall(OpenSeedArgs(), {Symbol.IMAGE: one}) for one in painted), len(painted))
        whole = ClassIoU(len(CLASSES))
        examples = []
        for drawn, wanted, result, one in zip(scenes, maps, seen, painted, strict=True):
            whole.add(ids_of(result), wanted)
            examples.append(_example(drawn, wanted, ids_of(result), one))
        return Score(
            figures={"miou": whole.mean() if scenes else float("nan")},
            counts={"pictures": len(scenes)},
            examples=examples,
        )

    def call(self, drawn: Rendered) -> SkillCall[ControlNetArgs]:
        return _call(drawn, 0)


def _call(drawn: Rendered, seed: int) -> SkillCall[ControlNetArgs]:
    segments = Image.fromarray(paint(class_map(drawn, drawn.instances), len(CLASSES)))
    return SkillCall(ControlNetArgs(prompt=plain_caption(drawn), seed=seed), {Symbol.IMAGE_SEG: segments})


def _example(drawn: Rendered, wanted: NDArray[np.uint8], found: NDArray[np.int64], painted: Image.Image) -> Example:
    iou = ClassIoU(len(CLASSES))
    iou.add(found, wanted)
    return Example(
        iou.mean(),
        [plain_caption(drawn), f"mIoU {iou.mean():.2f}"],
        lambda: [named_map(wanted, "given"), with_title(painted, "painted")],
    )


SCORER = ControlNetScorer
