"""The figures that the embedded checkpoints shall reach, and which skills they are of."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

IN_STYLE: Final = "in style"
UNSEEN: Final = "unseen style"

UNDERSTANDING_MS_MAX: Final = 300.0
GENERATION_MS_MAX: Final = 6000.0
"""Longest median of a call on two cores, one picture of 256 pixels."""

GENERATION: Final = frozenset({"stable_diffusion", "instruct_pix2pix", "inpainting", "controlnet"})


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the table, in 0..1, higher is better.

    Attributes:
        key: its name in what the skill's scorer gives.
        floor, target: what it must and what it shall reach on scenes in style.
        dev: what the checkpoint's training calls it on the development scenes; "" where training does not measure it.
    """

    skill: str
    key: str
    title: str
    floor: float
    target: float
    dev: str = ""

    @property
    def exact(self) -> bool:
        """Whether nothing but 1 will do."""
        return self.floor >= 1.0


FIGURES: Final = (
    Figure("grounding_dino", "map50", "mAP@0.5", 0.75, 0.90, "mAP50"),
    Figure("sam", "miou_boxes", "mIoU from boxes", 0.85, 0.93, "iou_box"),
    Figure("sam", "miou_point", "mIoU from one point", 0.75, 0.88, "iou_point"),
    Figure("grounding_dino+sam", "mask_map50", "mask mAP@0.5", 0.65, 0.85),
    Figure("openseed", "miou", "mIoU over classes", 0.60, 0.80, "mIoU"),
    Figure("semantic_sam", "miou", "best-of-granularity mIoU", 0.80, 0.90, "iou_levels"),
    Figure("seem", "miou", "mIoU on the same concept in another scene", 0.55, 0.75, "mIoU"),
    Figure("ram", "f1", "F1 of tags", 0.80, 0.92, "F1"),
    Figure("blip2", "objects_f1", "objects named (F1)", 0.80, 0.92, "objects_f1"),
    Figure("blip2", "scene", "scene right", 0.90, 0.98),
    Figure("clip_retrieval", "r1", "R@1", 0.60, 0.85, "r1"),
    Figure("easyocr", "words", "word accuracy on signs", 0.90, 0.97),
    Figure("stable_diffusion", "scene", "scene right", 0.80, 0.95),
    Figure("stable_diffusion", "found", "prompted object found by detector and CLIP", 0.40, 0.80),
    Figure("instruct_pix2pix", "seen", "asked change seen", 0.60, 0.90),
    Figure("instruct_pix2pix", "kept", "other objects kept", 0.70, 0.90),
    Figure("inpainting", "untouched", "outside the mask untouched", 1.0, 1.0),
    Figure("inpainting", "inside", "asked object inside", 0.30, 0.70),
    Figure("controlnet", "miou", "mIoU of the output's map with the given one", 0.40, 0.65),
)

SKILLS: Final = tuple(dict.fromkeys(figure.skill for figure in FIGURES))
"""Skills in the table's order."""

LIMITS_MS: Final = MappingProxyType(
    {skill: GENERATION_MS_MAX if skill in GENERATION else UNDERSTANDING_MS_MAX for skill in SKILLS}
)
