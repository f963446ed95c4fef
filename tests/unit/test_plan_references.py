"""Actions that use what other calls gave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.orchestrator.events import SkillFinished
from gateway.orchestrator.gallery import Gallery
from gateway.state.models import SessionPicture
from services.core.errors import SkillFailed
from services.core.spec import Symbol
from tests.gateway_fakes import FakeImages
from tests.orchestration_fakes import (
    BOXES,
    MAPPED,
    OTHER,
    PAINTED,
    SENT,
    Script,
    Skills,
    act,
    answer,
    new_session,
    run_turn,
)

FIND = ("find", {"caption": "cat"})


@pytest.mark.parametrize(
    "written", ["$1.boxes", {"$ref": "1.boxes"}, {"$ref": "$1.boxes"}, "$find.boxes", "$detector.boxes"]
)
async def test_boxes_of_one_action_go_into_the_next(written: Any) -> None:
    skills = Skills()
    _, finished = await run_turn(Script(act(FIND, ("cut", {"boxes": written})), answer()), skills)
    assert skills.calls[1].args == {"boxes": BOXES}
    assert skills.log == ["find starts", "find ends", "cut starts", "cut ends"]
    assert finished.steps[0].results[1]["args"] == {"boxes": BOXES}


async def test_one_box_stands_for_a_list_with_that_box() -> None:
    skills = Skills()
    await run_turn(Script(act(FIND, ("cut", {"boxes": "$1.boxes.1"})), answer()), skills)
    assert skills.calls[1].args == {"boxes": [BOXES[1]]}


async def test_references_may_stand_inside_an_argument() -> None:
    skills = Skills()
    await run_turn(Script(act(FIND, ("cut", {"boxes": ["$1.boxes.1", [0, 0, 1, 1]]})), answer()), skills)
    assert skills.calls[1].args == {"boxes": [BOXES[1], [0, 0, 1, 1]]}


async def test_tags_become_a_caption() -> None:
    skills = Skills()
    await run_turn(Script(act(("tag", {}), ("find", {"caption": "$tag.tags"})), answer()), skills)
    assert skills.calls[1].args == {"caption": "cat . dog"}


async def test_a_text_that_only_looks_like_a_reference_stays_a_text() -> None:
    skills = Skills()
    await run_turn(Script(act(("find", {"caption": "$1.50 on a price tag"})), answer()), skills)
    assert skills.calls[0].args == {"caption": "$1.50 on a price tag"}


async def test_a_later_step_and_a_later_turn_name_results_by_their_tool() -> None:
    skills = Skills()
    cut = act(("cut", {"boxes": "$find.boxes"}))
    _, first = await run_turn(Script(act(FIND), cut, answer()), skills)
    await run_turn(Script(cut, answer()), skills, session=first.session, images=())
    assert [call.args for call in skills.calls[1:]] == [{"boxes": BOXES}] * 2


async def test_a_mask_flows_into_the_action_that_needs_one() -> None:
    skills = Skills()
    plan = act(FIND, ("cut", {"boxes": "$1.boxes"}), ("fill", {"prompt": "a hat"}))
    await run_turn(Script(plan, answer()), skills)
    filled = skills.calls[-1]
    assert (filled.skill, filled.images[Symbol.IMAGE]) == ("fill", SENT)
    assert filled.images[Symbol.MASK].startswith("img_")


async def test_one_of_several_masks_can_be_chosen() -> None:
    skills = Skills()
    cut = ("cut", {"boxes": BOXES})
    chosen = [("fill", {"prompt": "a hat", "mask": f"$1.masks_rle{part}"}) for part in ("", ".0", "[1]")]
    await run_turn(Script(act(cut, *chosen), answer()), skills)
    assert len({call.images[Symbol.MASK] for call in skills.calls[1:]}) == 3


async def test_a_mask_remembers_the_call_that_gave_it_and_what_that_worked_on() -> None:
    skills, store = Skills(), FakeImages()
    cut = ("cut", {"boxes": BOXES})
    chosen = ("fill", {"prompt": "a hat", "mask": "$1.masks_rle.0"})
    _, first = await run_turn(Script(act(cut, chosen), answer()), skills, store=store)
    later = ("fill", {"prompt": "a hat", "mask": "$cut.masks_rle.1", "image": "image 1"})
    _, second = await run_turn(Script(act(later), answer()), skills, store=store, session=first.session, images=())
    masks = [first.session.symbols[Symbol.MASK], *(call.images[Symbol.MASK] for call in skills.calls[1:])]
    lineages = [(await store.info(handle, owner="me")).lineage for handle in masks]
    call = {"skill": "cut", "checkpoint": "weights", "args": {"boxes": BOXES}, "images": {"image": SENT}}
    made = call | {"request_id": "req-1", "field": "masks_rle"}
    assert lineages == [made, made | {"reference": "$1.masks_rle.0"}, made | {"reference": "$cut.masks_rle.1"}]
    assert second.session.turns[-1].request_id == "req-1"


async def test_a_map_flows_into_the_skill_that_follows_it() -> None:
    skills = Skills()
    await run_turn(Script(act(("map", {}), ("follow", {"prompt": "snow"})), answer()), skills)
    assert skills.calls[1].images == {Symbol.IMAGE_SEG: MAPPED}


async def test_actions_are_filled_as_if_they_ran_one_after_the_other() -> None:
    skills = Skills()
    await run_turn(Script(act(("edit", {"prompt": "night"}), ("tag", {})), answer()), skills)
    assert skills.calls[1].images == {Symbol.IMAGE: PAINTED}


async def test_an_action_may_name_its_picture() -> None:
    skills = Skills()
    named = [{"image": name} for name in ("image 1", "the first picture", "<image>", "$1.edited_image")]
    plan = act(("edit", {"prompt": "night"}), *(("tag", params) for params in named))
    await run_turn(Script(plan, answer()), skills, images=(OTHER, SENT))
    used = [call.images[Symbol.IMAGE] for call in skills.calls if call.skill == "tag"]
    assert sorted(used) == sorted([OTHER, OTHER, PAINTED, PAINTED])


async def test_independent_actions_start_together_and_dependants_wait() -> None:
    skills, tagging = Skills(), asyncio.Event()

    async def tag() -> None:
        assert "cut starts" not in skills.log
        tagging.set()

    skills.before = {"find": tagging.wait, "tag": tag}
    plan = act(FIND, ("cut", {"boxes": "$1.boxes"}), ("tag", {}))
    async with asyncio.timeout(10):
        await run_turn(Script(plan, answer()), skills)
    assert skills.log[:2] == ["find starts", "tag starts"]
    assert skills.log.index("find ends") < skills.log.index("cut starts")


async def test_no_more_calls_run_at_a_time_than_the_setting_allows() -> None:
    skills = Skills()
    await run_turn(Script(act(("tag", {}), ("map", {})), answer()), skills, limits={"turn_parallel_max": 1})
    assert skills.log == ["tag starts", "tag ends", "map starts", "map ends"]


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        ([("cut", {"boxes": "$3.boxes"})], "$3.boxes: this plan has no action 3, it has 1"),
        ([("cut", {"boxes": "$1.boxes"})], "$1.boxes is this action itself"),
        ([("cut", {"boxes": "$find.boxes"})], "find has no result yet"),
        ([FIND, ("cut", {"boxes": "$1.box"})], "$1.box: find gives boxes, phrases, size"),
        (
            [FIND, ("cut", {"boxes": "$1.phrases"})],
            "boxes takes a list of list of 4 numbers, but $1.phrases is a list of text",
        ),
        ([FIND, ("cut", {"boxes": ["$1.phrases.0"]})], "boxes takes a list of 4 numbers, but $1.phrases.0 is text"),
        ([FIND, ("cut", {"boxes": [[0, 0, 1, "$1.boxes.0"]]})], "boxes takes a number, but $1.boxes.0 is a list"),
        ([FIND, ("fill", {"prompt": "x", "mask": "$1.boxes"})], "mask takes a mask, but $1.boxes is a list"),
        (
            [("map", {}), ("tag", {"image": "$1.image_seg"})],
            "image takes a picture, but $1.image_seg is a segmentation map",
        ),
        ([("tag", {"image": "image 7"})], "image must name a picture of the conversation (image 1)"),
        ([("cut", {"boxes": {"$ref": "nonsense"}})], '"nonsense" is no reference'),
        ([("cut", {"boxes": "$user.boxes"})], "the person marked nothing"),
        ([("nope", {}), ("cut", {"boxes": "$1.boxes"})], "action 1 (nope) cannot run"),
        ([("cut", {"boxes": "$nope.boxes"})], "No tool is called 'nope'"),
        ([("fill", {"prompt": "x"})], "fill needs a mask"),
        ([("find", {"caption": 3})], "find: argument caption: Input should be a valid string"),
        ([("find", {})], "find: argument caption: Field required"),
        ([("tag", {"colour": "red"})], "tag has no argument 'colour'; it takes: none"),
    ],
)
async def test_a_plan_is_checked_before_it_runs(actions: list[tuple[str, dict[str, Any]]], told: str) -> None:
    planner, skills = Script(act(*actions), answer()), Skills()
    await run_turn(planner, skills)
    assert told in planner.told()[-1]
    assert skills.calls == [] or [call.skill for call in skills.calls] == [actions[0][0]]


async def test_actions_that_wait_for_each_other_do_not_run() -> None:
    planner, skills = (
        Script(act(("cut", {"boxes": "$2.boxes"}), ("find", {"caption": "$3.tags"}), ("tag", {})), answer()),
        Skills(),
    )
    await run_turn(planner, skills)
    assert [call.skill for call in skills.calls] == ["tag", "find", "cut"], "a later action may come first"
    circle = act(("find", {"caption": "$2.phrases"}), ("find", {"caption": "$1.phrases"}), ("tag", {}))
    planner, skills = Script(circle, answer()), Skills()
    await run_turn(planner, skills)
    assert "actions 1 and 2 wait for each other" in planner.told()[0]
    assert [call.skill for call in skills.calls] == ["tag"]


async def test_a_failed_action_fails_those_that_need_it_and_no_others() -> None:
    skills = Skills()
    skills.results["find"] = SkillFailed("It broke.")
    planner = Script(
        act(FIND, ("cut", {"boxes": "$1.boxes"}), ("fill", {"prompt": "x"}), ("tag", {"image": "image 1"})), answer()
    )
    events, _ = await run_turn(planner, skills)
    assert planner.told()[1] == "cut was not run: it needs action 1 (find), which failed."
    assert planner.told()[2] == "fill was not run: it needs action 2 (cut), which failed."
    ends = [(event.skill, (event.error or {}).get("kind")) for event in events if isinstance(event, SkillFinished)]
    assert ends == [("find", "skill_failed"), ("cut", "input_missing"), ("fill", "input_missing"), ("tag", None)]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, "found nothing: there is no mask"),
        ({"mask": "$1.masks_rle"}, "empty"),
        ({"mask": "$1.masks_rle.0"}, "0 items"),
    ],
)
async def test_an_action_whose_input_was_not_found_says_so(params: dict[str, Any], told: str) -> None:
    skills = Skills()
    skills.results["cut"] = skills.results["cut"] | {"masks_rle": []}
    planner = Script(act(("cut", {"boxes": BOXES}), ("fill", {"prompt": "x", **params})), answer())
    await run_turn(planner, skills)
    assert told in planner.told()[1]


def test_pictures_are_found_by_number_place_and_name() -> None:
    gallery = Gallery().with_pictures([SENT, OTHER], [None, "My Cat"]).with_picture(PAINTED)
    names = {
        SENT: ["image 1", "Image_1", "picture 1", "the first picture", "1st image", SENT],
        OTHER: ["image 2", "my cat", "the my cat", "second", "the previous one"],
        PAINTED: ["image 3", "the last one", "newest", "current image", "image", "this"],
    }
    for handle, words in names.items():
        assert [gallery.find(word) for word in words] == [handle] * len(words)
    assert gallery.find("image 4") is None
    assert gallery.find("") is None
    assert gallery.names() == "image 1, image 2 (My Cat), image 3"


def test_a_picture_that_is_sent_again_keeps_its_number_and_is_the_newest() -> None:
    gallery = Gallery().with_pictures([SENT, OTHER, SENT], [None, None, "cat"])
    assert gallery.newest == SENT
    assert gallery.pictures == (
        SessionPicture(number=1, handle=SENT, name="cat"),
        SessionPicture(number=2, handle=OTHER),
    )


def test_a_session_from_before_pictures_had_numbers_gets_them() -> None:
    assert Gallery.of(new_session(images=[SENT, OTHER])).find("second") == OTHER
