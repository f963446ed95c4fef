"""Every scorer on drawn shapes: perfect answers reach 1, bad ones do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.embedded.eval.scorer import Score, scorer_of
from services.embedded.eval.scorers import inpainting, instruct_pix2pix, stable_diffusion
from services.embedded.eval.scorers.blip2 import right
from services.embedded.eval.scorers.openseed import ids_of
from services.embedded.eval.scorers.seem import pairs_of
from services.embedded.eval.scorers.semantic_sam import clicks_on
from services.embedded.eval.splits import picture
from services.embedded.eval.targets import FIGURES, SKILLS
from services.embedded.world.edits import SCENE_EDITS
from services.embedded.world.language import plain_caption
from services.embedded.world.questions import Question
from services.embedded.world.render import Rendered, render
from services.skills.openseed import OpenSeedResult, SegmentLabel
from tests.eval_oracle import SIZE, Oracle, filled, scenes, split
from tests.world_sprites import shapes_atlas

UNDERSTANDING = ("grounding_dino", "grounding_dino+sam", "sam", "openseed", "semantic_sam", "seem", "ram", "blip2")


@pytest.fixture(scope="module")
def drawn() -> list[Rendered]:
    return scenes(12)


@pytest.fixture(scope="module")
def signed() -> list[Rendered]:
    return [one for one in scenes(40) if any(item.text for item in one.objects)][:3]


def figures_of(skill: str, score: Score) -> dict[str, float]:
    """The figures that the table asks for."""
    return {figure.key: score.figures[figure.key] for figure in FIGURES if figure.skill == skill}


@pytest.mark.parametrize("skill", UNDERSTANDING)
def test_perfect_answers_reach_one_and_bad_ones_do_not(skill: str, drawn: list[Rendered]) -> None:
    perfect = scorer_of(skill).score(Oracle(drawn), split(drawn))
    bad = scorer_of(skill).score(Oracle(drawn, bad=frozenset({skill})), split(drawn))

    assert figures_of(skill, perfect) == pytest.approx(dict.fromkeys(figures_of(skill, perfect), 1.0), abs=1e-6)
    assert max(figures_of(skill, bad).values()) < 0.2
    assert all(example.score == pytest.approx(1.0) for example in perfect.examples)
    assert min(example.score for example in bad.examples) < 0.3


@pytest.mark.parametrize("skill", UNDERSTANDING)
def test_every_example_can_be_drawn(skill: str, drawn: list[Rendered]) -> None:
    score = scorer_of(skill).score(Oracle(drawn), split(drawn))

    assert len(score.examples) >= len(drawn)
    for example in score.examples[:3]:
        assert all(isinstance(panel, Image.Image) for panel in example.panels())
        assert example.caption


def test_retrieval_finds_each_picture_by_its_caption_and_the_other_way_round(drawn: list[Rendered]) -> None:
    score = scorer_of("clip_retrieval").score(Oracle(drawn), split(drawn))

    assert score.figures["r1"] == 1.0
    assert np.isnan(score.figures["facts"]), "this checkpoint carries no facts"


def test_words_on_signs_count_whatever_their_case(signed: list[Rendered]) -> None:
    scorer = scorer_of("easyocr")

    perfect = scorer.score(Oracle(signed), split(signed))
    bad = scorer.score(Oracle(signed, bad=frozenset({"easyocr"})), split(signed))

    assert perfect.figures == {"words": 1.0, "case": 1.0, "precision": 1.0}
    assert bad.figures["words"] == 0.0
    assert perfect.counts["signs"] == len(signed)


def test_scenes_without_signs_give_no_word_accuracy(drawn: list[Rendered]) -> None:
    plain = [one for one in drawn if not any(item.text for item in one.objects)]

    score = scorer_of("easyocr").score(Oracle(plain), split(plain))

    assert np.isnan(score.figures["words"])
    assert score.examples == []


def test_paintings_of_the_wished_thing_are_found_by_both_judges(drawn: list[Rendered]) -> None:
    part = split(drawn, painted=4)
    wishes = stable_diffusion.wishes_of(part)
    drawings = [render(wish.scene, atlas=shapes_atlas()) for wish in wishes]
    painted = [picture(one) for one in drawings]

    score = scorer_of("stable_diffusion").score(Oracle(drawings, painted), part)

    assert len(wishes) == 4
    assert score.figures["scene"] == score.figures["found"] == score.figures["found_on_drawings"] == 1.0


def test_paintings_of_something_else_are_not_found(drawn: list[Rendered]) -> None:
    part = split(drawn, painted=4)
    wishes = stable_diffusion.wishes_of(part)
    drawings = [render(wish.scene, atlas=shapes_atlas()) for wish in wishes]
    shifted = [*drawings[1:], drawings[0]]
    painted = [picture(one) for one in shifted]

    score = scorer_of("stable_diffusion").score(Oracle(drawings, painted), part)

    assert score.figures["found"] < 0.5
    assert score.figures["found_on_drawings"] == 1.0


def edited(*, done: bool) -> Score:
    """The score of an editor that makes every change, or none."""
    part = split(scenes(20, 100), painted=20)
    pairs = instruct_pix2pix.pairs_of(part)
    pairs += instruct_pix2pix.pairs_of(part, instruct_pix2pix.OTHER_SCENES, part.painted // 2)
    results = [picture(pair.after if done else pair.before) for pair in pairs]
    # Shapes repeat, and of pictures that are alike the oracle knows the last: the edits that are scored come last.
    known = [one for pair in reversed(pairs) for one in (pair.before, pair.after)]
    return scorer_of("instruct_pix2pix").score(Oracle(known, results), part)


def test_true_edits_are_seen_and_keep_the_others() -> None:
    score = edited(done=True)

    assert score.figures["seen"] == score.figures["kept"] == 1.0
    assert score.figures["other_scenes"] == 1.0
    assert score.counts["pictures"] == 20, "of the kinds that count"
    assert {row[0] for row in score.tables[0].rows} == {*SCENE_EDITS, "recolour", "swap"}


def test_an_editor_that_changes_nothing_keeps_all_and_shows_no_change() -> None:
    score = edited(done=False)

    # Shapes repeat: a swap may give the same picture, which then shows the new thing.
    assert score.figures["seen"] < 0.2
    assert score.figures["other_scenes"] == 0.0
    assert score.figures["kept"] == 1.0
    assert score.figures["seen_on_drawings"] == 1.0


@pytest.mark.parametrize(("outside", "untouched"), [(0, 1.0), (1, 0.0)])
def test_one_grey_level_outside_the_mask_is_not_untouched(
    drawn: list[Rendered], outside: int, untouched: float
) -> None:
    part = split(drawn, painted=4)
    holes = inpainting.holes_of(part)
    results = [filled(hole, outside=outside) for hole in holes]
    oracle = Oracle([*drawn, *results], [picture(one) for one in results])

    score = scorer_of("inpainting").score(oracle, part)

    assert score.figures == {"untouched": untouched, "inside": 1.0}


def test_a_hole_left_as_it_was_has_nothing_inside(drawn: list[Rendered]) -> None:
    part = split(drawn, painted=4)
    results = [picture(hole.drawn) for hole in inpainting.holes_of(part)]

    score = scorer_of("inpainting").score(Oracle(drawn, results), part)

    assert score.figures == {"untouched": 1.0, "inside": 0.0}


def test_a_painting_is_compared_with_its_map(drawn: list[Rendered]) -> None:
    part = split(drawn, painted=4)
    true = [picture(one) for one in drawn]
    other = [*true[1:], true[0]]

    followed = scorer_of("controlnet").score(Oracle(drawn, true), part)
    ignored = scorer_of("controlnet").score(Oracle(drawn, other), part)

    assert followed.figures["miou"] == pytest.approx(1.0)
    assert ignored.figures["miou"] < 0.3


def test_every_skill_of_the_table_has_a_scorer_that_says_what_it_does() -> None:
    for skill in SKILLS:
        scorer = scorer_of(skill)
        assert scorer.skill == skill
        assert len(scorer.description()) > 80


def test_an_unknown_skill_has_no_scorer() -> None:
    with pytest.raises(KeyError, match="name one of"):
        scorer_of("sketching")


def test_the_same_split_asks_the_same_again(drawn: list[Rendered]) -> None:
    part = split(drawn)

    def asked() -> list[Any]:
        clicks = [[click.point for click in clicks_on(one, part.rng(index))] for index, one in enumerate(drawn)]
        pairs = [(pair.concept, plain_caption(pair.scene)) for pair in pairs_of(drawn, 5, part.rng())]
        wishes = [wish.prompt for wish in stable_diffusion.wishes_of(part)]
        edits = [pair.instruction for pair in instruct_pix2pix.pairs_of(part)]
        return [clicks, pairs, wishes, edits, [hole.prompt for hole in inpainting.holes_of(part)]]

    assert asked() == asked()


def test_a_click_means_each_different_mask_once(drawn: list[Rendered]) -> None:
    for index, one in enumerate(drawn):
        for number, click in enumerate(clicks_on(one, np.random.default_rng(index))):
            masks = [mask.tobytes() for mask in click.masks.values()]
            assert len(set(masks)) == len(masks)
            assert ("group" in click.masks) == (one.objects[number].group is not None and len(one.objects) > 1)


def test_pairs_show_the_concept_in_two_different_scenes(drawn: list[Rendered]) -> None:
    for pair in pairs_of([*drawn, *scenes(30, 50)], 20, np.random.default_rng(0)):
        assert pair.example is not pair.scene
        assert all(pair.concept in {item.concept for item in one.objects} for one in (pair.example, pair.scene))


def test_an_answer_is_right_in_the_same_words() -> None:
    assert right(Question("what colour is the car?", "red", "colour"), " Red. ")
    assert not right(Question("what colour is the car?", "red", "colour"), "dark red")
    assert right(Question("what is in the picture?", "a dog and two cars", "contents"), "two cars and a dog")
    assert not right(Question("what is in the picture?", "a dog and two cars", "contents"), "a dog")


def test_a_class_that_the_world_lacks_is_no_class_in_a_map() -> None:
    label = SegmentLabel(name="wall", id=0, area=1.0, colour=(120, 120, 120))
    grey = Image.new("RGB", (SIZE.width, SIZE.height), label.colour)

    ids = ids_of(OpenSeedResult(image_seg=grey, labels=[label], size=SIZE))

    assert (ids == -1).all()


def test_signs_are_neither_wished_for_nor_painted_over(signed: list[Rendered]) -> None:
    alone = [
        replace(one, objects=one.objects[-1:], scene=replace(one.scene, objects=one.scene.objects[-1:]))
        for one in signed
    ]
    alone = [one for one in alone if one.objects[0].text]

    assert alone
    assert stable_diffusion.wishes_of(split(alone)) == []
    assert inpainting.holes_of(split(alone)) == []
