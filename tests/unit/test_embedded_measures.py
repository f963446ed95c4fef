"""The arithmetic of the evaluation, on examples small enough to be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from services.core.types import MaskRLE
from services.embedded.eval.coco import Instance, average_precision
from services.embedded.eval.detections import Found, asked, at, everything, matches
from services.embedded.eval.measures import Tally, box_iou, f1, mask_iou, mean
from services.embedded.eval.progress import Progress
from services.embedded.eval.splits import picture
from tests.eval_oracle import Oracle, scenes

HALF = (0.0, 0.0, 0.5, 1.0)
QUARTER = (0.0, 0.0, 0.5, 0.5)
FAR = (0.6, 0.6, 1.0, 1.0)


def test_f1_is_between_precision_and_recall() -> None:
    tally = Tally()
    tally.add(["dog", "cat", "cat"], ["dog", "cat", "fox", "fox"])

    assert (tally.right, tally.found, tally.wanted) == (2, 3, 4)
    assert tally.precision == pytest.approx(2 / 3)
    assert tally.recall == 0.5
    assert tally.f1 == pytest.approx(4 / 7)


def test_nothing_found_where_nothing_is_wanted_is_right() -> None:
    assert f1(0, 0, 0) == 1.0
    assert f1(0, 2, 0) == f1(0, 0, 2) == 0.0
    assert Tally().precision == Tally().recall == 0.0


def test_overlap_of_masks_and_boxes() -> None:
    mask, other = np.zeros((4, 4), np.bool_), np.zeros((4, 4), np.bool_)
    mask[:, :2], other[:2, :] = True, True

    assert mask_iou(mask, other) == pytest.approx(4 / 12)
    assert mask_iou(mask, mask) == mask_iou(~mask & mask, ~mask & mask) == 1.0
    assert box_iou(HALF, QUARTER) == 0.5
    assert box_iou(HALF, FAR) == box_iou(HALF, (0.2, 0.2, 0.2, 0.2)) == 0.0


def test_the_mean_of_nothing_is_not_a_number() -> None:
    assert mean([True, False]) == 0.5
    assert np.isnan(mean([]))


def test_average_precision_counts_what_is_right_at_half_overlap() -> None:
    wanted = [Instance(0, 0, HALF), Instance(1, 0, HALF)]
    right = [Instance(0, 0, QUARTER, score=0.9), Instance(1, 0, HALF, score=0.8)]

    precision, by_class = average_precision(wanted, right, ("dog", "cat"), 2, "bbox")

    assert precision == pytest.approx(1.0)
    assert by_class == {"dog": pytest.approx(1.0)}, "nobody asked for a cat"


def test_a_surer_wrong_box_lowers_average_precision_and_a_less_sure_one_does_not() -> None:
    wanted = [Instance(0, 0, HALF)]
    right = Instance(0, 0, HALF, score=0.5)

    surer, _ = average_precision(wanted, [Instance(0, 0, FAR, score=0.6), right], ("dog",), 1, "bbox")
    less, _ = average_precision(wanted, [Instance(0, 0, FAR, score=0.4), right], ("dog",), 1, "bbox")

    assert surer == pytest.approx(0.5)
    assert less == pytest.approx(1.0)


def test_a_missed_object_halves_average_precision() -> None:
    wanted = [Instance(0, 0, HALF), Instance(1, 0, HALF)]

    precision, _ = average_precision(wanted, [Instance(0, 0, HALF, score=0.9)], ("dog",), 2, "bbox")

    # COCO takes the precision at 101 recalls; 51 of them (0 to 0.5) are reached.
    assert precision == pytest.approx(51 / 101)


def test_average_precision_of_masks_looks_at_masks() -> None:
    left, top = np.zeros((8, 8), np.bool_), np.zeros((8, 8), np.bool_)
    left[:, :4], top[:4, :] = True, True
    wanted = [Instance(0, 0, HALF, MaskRLE.from_array(left))]

    same, _ = average_precision(wanted, [Instance(0, 0, FAR, MaskRLE.from_array(left))], ("dog",), 1, "segm")
    other, _ = average_precision(wanted, [Instance(0, 0, HALF, MaskRLE.from_array(top))], ("dog",), 1, "segm")

    assert same == pytest.approx(1.0)
    assert other == 0.0


def test_nothing_wanted_or_nothing_found_has_no_average_precision() -> None:
    assert average_precision([], [Instance(0, 0, HALF)], ("dog",), 1, "bbox") == (0.0, {})
    assert average_precision([Instance(0, 0, HALF)], [], ("dog",), 1, "bbox") == (0.0, {"dog": 0.0})


def test_each_object_is_matched_once() -> None:
    (drawn,) = scenes(1)
    item = drawn.objects[0]
    found = [Found(item.concept, item.box, 0.9), Found(item.concept, item.box, 0.8), Found("ghost", item.box, 0.7)]

    hits = matches(found, drawn)

    assert hits[0] == 0
    assert hits[1] != 0
    assert hits[2] is None


def test_the_best_detection_at_a_place_is_told() -> None:
    found = [Found("dog", FAR, 0.9), Found("cat", QUARTER, 0.8), Found("fox", HALF, 0.7)]

    assert at(found, HALF) == "cat"
    assert at(found, (0.9, 0.0, 1.0, 0.1)) is None


def test_every_concept_is_asked_of_every_picture_and_the_best_come_first() -> None:
    drawn = scenes(3)

    found = everything(Oracle(drawn), [picture(one) for one in drawn], 0.1)

    for one, mine in zip(drawn, found, strict=True):
        assert sorted(item.phrase for item in mine) == sorted(item.concept for item in one.objects)
        assert [item.score for item in mine] == sorted((item.score for item in mine), reverse=True)


def test_pictures_may_be_asked_for_different_things() -> None:
    drawn = scenes(2)
    first = drawn[0].objects[0].concept

    found = asked(Oracle(drawn), [picture(one) for one in drawn], [[[first]], []], 0.1)

    assert {item.phrase for item in found[0]} == {first}
    assert found[1] == []


def test_progress_tells_the_time_left_now_and_then() -> None:
    now = [0.0]
    lines: list[str] = []
    progress = Progress(lines.append, "sam", 10, every_s=5.0, clock=lambda: now[0])

    for moment in (1.0, 6.0, 7.0, 12.0):
        now[0] = moment
        progress.add(2)

    assert lines == ["sam: 4 of 10, 9 s left", "sam: 8 of 10, 3 s left"]
