"""Edits by instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.detections import Found, at
from services.embedded.eval.drawing import with_title
from services.embedded.eval.judges import JUDGES, Judges
from services.embedded.eval.measures import box_iou, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer, Table
from services.embedded.eval.splits import Split, picture
from services.embedded.world.concepts import COLOURS
from services.embedded.world.edits import OBJECT_EDITS, SCENE_EDITS, EditPair, edit
from services.embedded.world.render import Rendered, SeenObject
from services.skills.instruct_pix2pix import InstructPix2PixArgs

SCORED = ("night", "autumn", "under water", *OBJECT_EDITS)
"""The kinds of edits that the figures are taken on."""
OTHER_SCENES = tuple(kind for kind in SCENE_EDITS if kind not in SCORED)
_SAME_PLACE = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judges say of one edited picture.

    Attributes:
        seen: whether the asked change is there.
        there: how many of the other objects the detector finds in the given picture.
        kept: how many of these it finds at the same places in the edited one.
    """

    seen: bool
    there: int
    kept: int


class InstructPix2PixScorer(Scorer):
    """Instructions for held-out scenes: night, autumn, under water, another colour, another thing, in turn. The change
    is seen where CLIP takes the new background for the nearest, where the detector gives the object the new colour
    when it is asked for all of them, or finds the new thing in the old one's place. Others are kept where the detector
    finds them in the given picture and again at the same place. "On drawings" is what the judges say of the true
    results. "Other scenes" is how often moves to the other backgrounds are seen, of half as many pictures that count
    nowhere else. Each case shows the given picture and the edited one.
    """

    skill = "instruct_pix2pix"
    judges = JUDGES

    def score(self, skills: Asks, split: Split) -> Score:
        pairs = pairs_of(split)
        moved = pairs_of(split, OTHER_SCENES, split.painted // 2)
        calls = (_call(pair, index) for index, pair in enumerate([*pairs, *moved]))
        painted = [result.edited_image for result in skills.ask(self.skill, calls, len(pairs) + len(moved))]
        edited, elsewhere = painted[: len(pairs)], painted[len(pairs) :]
        judges = Judges(skills)
        given = judges.detections([picture(pair.before) for pair in pairs])
        of_edited = verdicts(judges, edited, pairs, given)
        of_drawings = verdicts(judges, [picture(pair.after) for pair in pairs], pairs, given)
        of_moved = verdicts(judges, elsewhere, moved, [[] for _ in moved])
        return Score(
            figures={
                "seen": mean(one.seen for one in of_edited),
                "kept": share_kept(of_edited),
                "seen_on_drawings": mean(one.seen for one in of_drawings),
                "kept_on_drawings": share_kept(of_drawings),
                "other_scenes": mean(one.seen for one in of_moved),
            },
            counts={"pictures": len(pairs), "other objects": sum(one.there for one in of_edited)},
            examples=[_example(*case) for case in zip(pairs, edited, of_edited, strict=True)],
            tables=[
                Table(
                    "Changes seen by kind",
                    ("kind", "seen", "pictures"),
                    [*_by_kind(SCORED, pairs, of_edited), *_by_kind(OTHER_SCENES, moved, of_moved)],
                )
            ],
        )

    def call(self, drawn: Rendered) -> SkillCall[InstructPix2PixArgs]:
        return SkillCall(InstructPix2PixArgs(prompt="make it autumn", seed=0), {Symbol.IMAGE: picture(drawn)})


def pairs_of(split: Split, kinds: Sequence[str] = SCORED, count: int | None = None) -> list[EditPair]:
    """One edit of each scene, of the kind that is rarest so far among those that the scene allows.

    Args:
        count: how many, `split.painted` when None; fewer where there are not enough scenes.
    """
    wanted = split.painted if count is None else count
    counts = dict.fromkeys(kinds, 0)
    pairs: list[EditPair] = []
    for index, drawn in enumerate(split.scenes):
        if len(pairs) >= wanted:
            break
        tried = (edit(drawn, kind, split.rng(index), split.atlas) for kind in sorted(counts, key=counts.__getitem__))
        pair = next((pair for pair in tried if pair is not None), None)
        if pair is not None:
            counts[pair.kind] += 1
            pairs.append(pair)
    return pairs


def verdicts(
    judges: Judges, pictures: Sequence[Image.Image], pairs: Sequence[EditPair], given: Sequence[Sequence[Found]]
) -> list[Verdict]:
    """What the judges say of pictures that were made from pairs; `given` is what was found before."""
    if not pairs:
        return []
    backgrounds = judges.backgrounds(pictures)
    found = judges.detections(pictures)
    recoloured = [index for index, pair in enumerate(pairs) if pair.kind == "recolour"]
    phrases = [[f"{colour} {_target(pairs[index]).concept}" for colour in COLOURS] for index in recoloured]
    coloured = dict(zip(recoloured, judges.asked([pictures[index] for index in recoloured], phrases), strict=True))
    return [
        Verdict(
            _seen(pair, backgrounds[index], coloured.get(index, found[index])), *_kept(pair, given[index], found[index])
        )
        for index, pair in enumerate(pairs)
    ]


def _by_kind(kinds: Sequence[str], pairs: Sequence[EditPair], judged: Sequence[Verdict]) -> list[tuple[str, str, str]]:
    """Of each kind that there is: its name, the share of changes seen, how many."""
    rows = []
    for kind in kinds:
        mine = [one.seen for one, pair in zip(judged, pairs, strict=True) if pair.kind == kind]
        if mine:
            rows.append((kind, f"{mean(mine):.2f}", str(len(mine))))
    return rows


def share_kept(judged: Sequence[Verdict]) -> float:
    """Kept objects of those that were there; NaN where none was."""
    there = sum(one.there for one in judged)
    return sum(one.kept for one in judged) / there if there else float("nan")


def _target(pair: EditPair) -> SeenObject:
    """The object that changes, as it shall be."""
    assert pair.object is not None
    return pair.after.objects[pair.object]


def _seen(pair: EditPair, background: str, found: Sequence[Found]) -> bool:
    if pair.kind in SCENE_EDITS:
        return background == SCENE_EDITS[pair.kind]
    target = _target(pair)
    return at(found, target.box) == (f"{target.colour} {target.concept}" if pair.kind == "recolour" else target.concept)


def _kept(pair: EditPair, given: Sequence[Found], found: Sequence[Found]) -> tuple[int, int]:
    """How many objects other than the changed one were found before, and how many of these are found now."""
    others = [item for index, item in enumerate(pair.before.objects) if index != pair.object]
    there = [item for item in others if _has(given, item.concept, item.box)]
    return len(there), sum(_has(found, item.concept, item.box) for item in there)


def _has(found: Sequence[Found], concept: str, box: Sequence[float]) -> bool:
    return any(item.phrase == concept and box_iou(item.box, box) >= _SAME_PLACE for item in found)


def _call(pair: EditPair, seed: int) -> SkillCall[InstructPix2PixArgs]:
    return SkillCall(InstructPix2PixArgs(prompt=pair.instruction, seed=seed), {Symbol.IMAGE: picture(pair.before)})


def _example(pair: EditPair, edited: Image.Image, verdict: Verdict) -> Example:
    seen = "change seen" if verdict.seen else "change not seen"
    kept = f", {verdict.kept} of {verdict.there} others kept" if verdict.there else ""
    score = mean([verdict.seen, *([verdict.kept / verdict.there] if verdict.there else [])])
    return Example(
        score,
        [pair.instruction, seen + kept],
        lambda: [with_title(picture(pair.before), "given"), with_title(edited, "edited")],
    )


SCORER = InstructPix2PixScorer
