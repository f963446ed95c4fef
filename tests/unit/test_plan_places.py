"""Boxes, points and masks are used in the picture in which they were found, and in those made from it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.orchestrator.known import made_from
from gateway.state.models import Session
from services.core.spec import Symbol
from tests.orchestration_fakes import (
    BOXES,
    OTHER,
    PAINTED,
    SENT,
    Script,
    Skills,
    act,
    answer,
    mask,
    run_turn,
)

FIND = ("find", {"caption": "cat"})
FIND_FIRST = ("find", {"caption": "cat", "image": "image 1"})
CUT = ("cut", {"boxes": "$find.boxes"})


async def session_after(*calls: tuple[str, dict[str, Any]], images: tuple[str, ...] = (SENT,)) -> Session:
    _, finished = await run_turn(Script(act(*calls), answer()), Skills(), images=images)
    return finished.session


async def calls_and_told(
    session: Session | None, *calls: tuple[str, dict[str, Any]], images: tuple[str, ...] = ()
) -> tuple[Skills, list[str]]:
    skills, planner = Skills(), Script(act(*calls), answer())
    await run_turn(planner, skills, session=session, images=images)
    return skills, planner.told()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            ("cut", {"boxes": "$find.boxes"}),
            'cut: $find.boxes is about image 1, but its image is image 2: call find on that one first, or say "image": '
            '"image 1".',
        ),
        (("cut", {"boxes": ["$find.boxes.0", [0, 0, 1, 1]]}), "$find.boxes.0 is about image 1"),
        (("cut", {"boxes": "$find.boxes", "image": "image 2"}), "call find on that one first"),
        (("fill", {"prompt": "a dog", "mask": "$cut.masks_rle.0"}), "$cut.masks_rle.0 is about image 1"),
        (
            ("example", {"reference_image": "image 2", "reference_mask": "$cut.masks_rle.0"}),
            '"reference_image": "image',
        ),
    ],
)
async def test_a_place_in_an_earlier_picture_is_not_taken_for_one_in_a_new_one(call: Any, told: str) -> None:
    earlier = await session_after(FIND, ("cut", {"boxes": "$1.boxes"}))
    skills, errors = await calls_and_told(earlier, call, images=(OTHER,))
    assert skills.calls == []
    assert told in errors[0]


@pytest.mark.parametrize(
    "call",
    [
        ("cut", {"boxes": "$find.boxes", "image": "image 1"}),
        ("fill", {"prompt": "a dog", "mask": "$cut.masks_rle.0", "image": "image 1"}),
        ("example", {"reference_image": "image 1", "reference_mask": "$cut.masks_rle.0"}),
        ("find", {"caption": "$find.phrases"}),
        ("cut", {"boxes": BOXES}),
    ],
)
async def test_after_a_new_picture_earlier_results_serve_where_they_belong_and_words_anywhere(call: Any) -> None:
    earlier = await session_after(FIND, ("cut", {"boxes": "$1.boxes"}))
    skills, _ = await calls_and_told(earlier, call, images=(OTHER,))
    assert [one.skill for one in skills.calls] == [call[0]]


@pytest.mark.parametrize("edited_first", [False, True])
async def test_places_still_hold_in_a_picture_that_was_made_from_theirs(edited_first: bool) -> None:
    night = ("edit", {"prompt": "night"})
    before = await session_after(*((night, FIND_FIRST) if edited_first else (FIND, night)))
    skills, _ = await calls_and_told(before, CUT, ("fill", {"prompt": "a dog"}))
    cut, fill = skills.calls
    assert (cut.args, cut.images[Symbol.IMAGE]) == ({"boxes": BOXES}, PAINTED)
    assert fill.skill == "fill"


async def test_a_picture_that_follows_a_map_is_laid_out_as_the_one_that_was_mapped() -> None:
    before = await session_after(FIND, ("map", {}), ("follow", {"prompt": "snow"}))
    skills, _ = await calls_and_told(before, CUT)
    assert [(one.skill, one.images[Symbol.IMAGE]) for one in skills.calls] == [("cut", PAINTED)]


async def test_in_one_plan_an_action_works_on_the_picture_of_its_places_or_names_its_own() -> None:
    both = (SENT, OTHER)
    boxes = {"boxes": "$1.boxes"}
    skills, errors = await calls_and_told(None, FIND_FIRST, ("cut", boxes), images=both)
    assert [one.skill for one in skills.calls] == ["find"]
    assert "$1.boxes is about image 1, but its image is image 2" in errors[1]
    for named, handle in (("image 1", SENT), ("image 2", OTHER)):
        skills, _ = await calls_and_told(None, FIND_FIRST, ("cut", boxes | {"image": named}), images=both)
        assert skills.calls[1].images == {Symbol.IMAGE: handle}


async def test_a_mask_is_not_filled_into_another_picture_without_a_word() -> None:
    cut = ("cut", {"boxes": BOXES, "image": "image 1"})
    skills, errors = await calls_and_told(None, cut, ("fill", {"prompt": "a dog"}), images=(SENT, OTHER))
    assert [one.skill for one in skills.calls] == ["cut"]
    assert "fill: the mask of action 1 is about image 1, but its image is image 2" in errors[1]


async def test_a_follow_up_about_the_same_picture_needs_no_name() -> None:
    earlier = await session_after(FIND, ("cut", {"boxes": "$1.boxes"}))
    skills, _ = await calls_and_told(earlier, CUT, ("fill", {"prompt": "a dog", "mask": "$1.masks_rle.0"}))
    assert [one.skill for one in skills.calls] == ["cut", "fill"]
    skills, _ = await calls_and_told(earlier, ("fill", {"prompt": "a dog", "mask": "$cut.masks_rle.1"}))
    assert [one.skill for one in skills.calls] == ["fill"]


def test_no_picture_comes_from_itself_in_the_end() -> None:
    def call(source: str, made: str) -> dict[str, Any]:
        return {"images": {"image": source}, "result": {"edited_image": made, "mask": mask(0), "caption": "img"}}

    assert made_from([call(SENT, OTHER), call(OTHER, SENT), call(OTHER, PAINTED), call(SENT, SENT)]) == {
        OTHER: SENT,
        PAINTED: OTHER,
    }
