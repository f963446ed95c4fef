"""End-to-end scoring: strict checks of answers, and questions of every row that the truth answers."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from planner.eval.gateway import GatewayClient, Reply
from planner.eval.journal import Journal
from planner.eval.world import checks
from planner.eval.world.questions import ROWS, dialogues
from planner.eval.world.report import answered, headline, to_json, to_markdown
from planner.eval.world.run import NEEDS, LeftOut, ask_all, askable, left_out
from planner.eval.world.shapes import boxes_are, iou, mask_is, mask_of, matched
from planner.eval.world.turns import Dialogue, Scenes, Turn
from services.core.types import MaskRLE
from services.embedded.world.concepts import BACKGROUNDS, COLOURS, CONCEPT, TRAIN_STYLES
from services.embedded.world.questions import position
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene, scene_rng
from tests.world_sprites import shapes_atlas

RIGHT, WRONG = True, False
PAINTED = ("editing", "segment_generate", "edit_post")


@pytest.mark.parametrize(
    ("answer", "count", "right"),
    [
        ("There are three dogs.", 3, RIGHT),
        ("3", 3, RIGHT),
        ("I count 3 dogs at [0.1, 0.2, 0.3, 0.4].", 3, RIGHT),
        ("There is a dog.", 1, RIGHT),
        ("There are no dogs.", 0, RIGHT),
        ("I don't see any.", 0, RIGHT),
        ("none", 0, RIGHT),
        ("Zero.", 0, RIGHT),
        ("There are two or three dogs.", 3, WRONG),
        ("There are four dogs.", 3, WRONG),
        ("There are dogs.", 3, WRONG),
        ("There are not 3 dogs.", 3, WRONG),
        ("The score is 0.3.", 3, WRONG),
        ("A dog.", 0, WRONG),
        ("There are 13 dogs.", 3, WRONG),
    ],
)
def test_counts(answer: str, count: int, right: bool) -> None:
    assert (checks.count_is(answer, count) == "") is right


@pytest.mark.parametrize(
    ("answer", "wanted", "right"),
    [
        ("Yes, there is a dog.", True, RIGHT),
        ("yes", True, RIGHT),
        ("There is a dog on the left.", True, RIGHT),
        ("No, I see no dog.", False, RIGHT),
        ("There is no dog.", False, RIGHT),
        ("I can't see a dog.", False, RIGHT),
        ("Yes and no.", True, WRONG),
        ("No. Well, yes.", False, WRONG),
        ("A dog?", True, WRONG),
        ("There is no dog.", True, WRONG),
        ("", False, WRONG),
    ],
)
def test_yes_or_no(answer: str, wanted: bool, right: bool) -> None:
    assert (checks.yes_or_no(answer, wanted) == "") is right


def test_colours_words_and_scenes_must_be_the_only_ones() -> None:
    assert checks.colour_is("The car is red.", "red") == ""
    assert "red" in checks.colour_is("It is blue.", "red")
    assert checks.colour_is("Red or blue.", "red")
    assert checks.colour_is("It is reddish.", "red")
    assert checks.words_read('The sign says: "Fresh Eggs!"', "FRESH\nEGGS") == ""
    assert checks.words_read("It says fresh figs.", "FRESH EGGS")
    assert checks.words_read("", "FRESH EGGS")
    assert checks.scene_is("This is a beach.", "beach") == ""
    assert checks.scene_is("A city.", "beach")


def test_captions_name_enough_and_nothing_that_is_not_there() -> None:
    assert checks.names("a dog and two cars on a beach", {"dog", "car"}, 0.5) == ""
    assert checks.names("a dog", {"dog", "car"}, 0.5) == ""
    assert checks.names("a dog and a cat", {"dog", "car"}, 0.5) == "names cat, which is not there"
    assert checks.names("a nice picture", {"dog"}, 0.5)
    assert checks.names("a dog", {"dog", "car", "apple"}, 0.5)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("It is on the left.", RIGHT),
        ("In the upper left corner.", RIGHT),
        ("[0.1, 0.1, 0.3, 0.3]", RIGHT),
        ("At the top left: [0.12, 0.1, 0.3, 0.31].", RIGHT),
        ("On the right.", WRONG),
        ("On the left, at the bottom.", WRONG),
        ("In the middle.", WRONG),
        ("[0.6, 0.6, 0.9, 0.9]", WRONG),
        ("Somewhere.", WRONG),
    ],
)
def test_places(answer: str, right: bool) -> None:
    assert (checks.place_is(answer, (0.1, 0.1, 0.3, 0.3)) == "") is right


def test_facts_and_posts_are_about_their_subject() -> None:
    facts = CONCEPT["camel"].facts
    assert checks.tells_fact("Camels: their humps store fat and not water.", facts) == ""
    assert checks.tells_fact("Camels are nice.", facts)
    assert checks.post_about("What a lovely camel we met! #desert", ["camel"]) == ""
    assert checks.post_about("The picture is ready.", ["picture"])
    assert checks.post_about("What a lovely day we had!", ["camel"])


def test_boxes_must_be_those_and_no_others() -> None:
    one, other = (0.1, 0.1, 0.4, 0.4), (0.6, 0.6, 0.9, 0.9)
    assert iou(one, one) == pytest.approx(1)
    assert iou(one, other) == 0
    assert boxes_are([one, other], [other, one]) == ""
    assert boxes_are([], []) == ""
    assert boxes_are([one], [one, other])
    assert boxes_are([one, other], [one])
    assert boxes_are([other], [one])
    assert matched([one, one], [one]) == 1


def test_masks_must_overlap_one_of_those_wanted() -> None:
    left, right = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    left[:, :4], right[:, 4:] = True, True
    code = MaskRLE.from_array(left).model_dump(mode="json")
    assert mask_is(mask_of([code]), [right, left]) == ""
    assert mask_is(mask_of([code]), [right])
    assert mask_is(mask_of([]), [left]) == "no mask"
    assert mask_is(np.ones((4, 4), bool), [left])


@lru_cache(maxsize=1)
def scenes() -> Scenes:
    return Scenes(lambda number: render(sample_scene(scene_rng(5, number), TRAIN_STYLES[:2]), atlas=shapes_atlas()))


@lru_cache(maxsize=1)
def made() -> list[Dialogue]:
    return dialogues(scenes(), 3)


class Truth:
    """Eyes that see what a test says, and pictures as they were."""

    def __init__(self, boxes: list[list[float]], scene: str | None, pixels: NDArray[np.uint8]) -> None:
        self.boxes, self.background, self.image = boxes, scene, pixels

    async def finds(self, handle: str, phrase: str) -> list[list[float]]:
        return self.boxes

    async def scene(self, handle: str) -> str | None:
        return self.background

    async def pixels(self, handle: str) -> NDArray[np.uint8]:
        return self.image


def results(*found: dict[str, Any], skill: str = "grounding_dino") -> list[dict[str, Any]]:
    return [{"actions": [], "results": [{"skill": skill, "result": result} for result in found]}]


def answers(dialogue: Dialogue, turn: Turn) -> list[tuple[Reply, list[list[float]], str | None]]:
    """Replies of which one is right: all that can be said of the scene, with what may be seen in a new picture."""
    number = dialogue.scene if dialogue.scene is not None else int(dialogue.id.rsplit("-", 1)[1])
    drawn = scenes()[number]
    concepts = sorted({item.concept for item in drawn.objects})
    texts = ["yes", "no", "the words: " + " ".join(str(item.text) for item in drawn.objects if item.text)]
    texts += [str(count) for count in range(7)] + list(COLOURS) + list(BACKGROUNDS)
    texts += [" and ".join(concepts), *(fact for name in concepts for fact in CONCEPT[name].facts)]
    texts += [place for item in drawn.objects if (place := position(item))]
    texts += [f"Look at this lovely {name} of ours!" for name in concepts]
    boxes = [list(item.box) for item in drawn.objects]
    codes = [MaskRLE.from_array(drawn.mask(index)).model_dump(mode="json") for index in range(len(boxes))]
    area = float((drawn.instances == 0).mean())
    labels = [{"name": drawn.scene.background, "area": area}, *({"name": name, "area": 0.1} for name in concepts)]
    replies = [Reply(answer=text, steps=results({"boxes": boxes}), produced=["img"]) for text in texts]
    by_name = {name: [list(item.box) for item in drawn.objects if item.concept == name] for name in concepts}
    replies += [Reply(answer="Here.", steps=results({"boxes": found})) for found in by_name.values()]
    replies += [Reply(answer="Here.", steps=results({"masks_rle": [code]})) for code in codes]
    levels = [{"levels": [{"masks_rle": [code, code]}]} for code in codes]
    replies += [Reply(answer="Here.", steps=results(level, skill="semantic_sam")) for level in levels]
    replies += [Reply(answer="Map.", steps=results({"labels": labels}, skill="openseed"), produced=["img"])]
    return [
        (reply, found, scene) for reply in replies for found in [*([box] for box in boxes)] for scene in BACKGROUNDS
    ]


@pytest.mark.parametrize("row", ROWS)
async def test_the_truth_answers_the_questions_of_every_row_and_silence_none(row: str) -> None:
    questions = [(dialogue, turn) for dialogue in made() if dialogue.row == row for turn in dialogue.turns]
    assert len(questions) >= 3
    for dialogue, turn in questions:
        number = dialogue.scene if dialogue.scene is not None else 0
        image = scenes()[number].image
        verdicts = [
            await turn.check(reply, Truth(boxes, scene, image)) for reply, boxes, scene in answers(dialogue, turn)
        ]
        assert "" in verdicts, (turn.text, set(verdicts))
        assert set(verdicts) != {""}, turn.text
        assert await turn.check(Reply(answer="I do not know."), Truth([], None, image)) != ""


def test_the_same_questions_are_made_every_time_and_need_known_skills() -> None:
    again = dialogues(scenes(), 3)
    assert [turn.text for dialogue in again for turn in dialogue.turns] == [
        turn.text for dialogue in made() for turn in dialogue.turns
    ]
    assert NEEDS.keys() == ROWS.keys()
    assert len({dialogue.id for dialogue in made()}) == len(made())


def platform(bodies: list[dict[str, Any]]) -> httpx.MockTransport:
    """Answers everything with tags, and forgets nothing that it was asked."""

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/images":
            return httpx.Response(200, json={"id": "img_" + "a" * 40})
        if request.url.path.startswith("/v1/tools"):
            return httpx.Response(404, json={"error": {"message": "no such tool"}})
        bodies.append(json.loads(request.content))
        step = {"kind": "plan", "actions": [{"API_name": "ram", "API_params": {}}], "results": []}
        message = {"role": "assistant", "content": "a dog"}
        said = {"choices": [{"message": message}], "session_id": "ses_7", "debug": {"steps": [step]}}
        return httpx.Response(200, json=said | {"produced_images": ["img_" + "b" * 40]})

    return httpx.MockTransport(respond)


async def test_a_platform_is_asked_in_sessions_and_a_cut_run_goes_on(tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = []
    wanted = [dialogue for dialogue in made() if dialogue.row in ("mixed_turns", "example_segmentation", "generation")]
    journal = Journal(tmp_path / "asked.jsonl", {})
    async with GatewayClient("http://platform", transport=platform(bodies)) as client:
        await ask_all(wanted, scenes(), client, journal, until=lambda: len(bodies) > 3)
        asked = len(bodies)
        await ask_all(wanted, scenes(), client, Journal(tmp_path / "asked.jsonl", {}))
    total = sum(len(dialogue.turns) for dialogue in wanted)
    assert asked < len(bodies) == total
    mixed = [body for body in bodies if body.get("session_id")]
    assert len(mixed) == 3
    assert all(len(body["messages"][0]["content"]) == 1 for body in mixed)
    records = answered(wanted, Journal(tmp_path / "asked.jsonl", {}))
    assert len(records) == total
    painted = [record for record in records if record["row"] == "generation"]
    assert {record["wrong"].split(":")[0] for record in painted} == {"cannot be checked"}
    without = {"caption": LeftOut(4, ("blip2",))}
    page = to_markdown(records, {"gateway": "x"}, 30, without)
    assert "| generation | 0/3" in page
    assert "| caption | not asked (4) | - | - | not offered: blip2 |" in page
    data = to_json(records, {}, 30, without)
    assert (data["asked"], data["questions"]) == (total, 30)
    assert data["not_offered"] == {"caption": {"questions": 4, "skills": ("blip2",)}}


def test_questions_whose_skills_are_not_offered_are_not_asked_and_neither_right_nor_wrong() -> None:
    able = askable(made(), ["stable_diffusion", "ram"])
    assert {dialogue.row for dialogue in able} == {"conversation", "generation", "generate_post", "tagging"}
    without = left_out(made(), ["stable_diffusion", "ram"])
    asked, total = (sum(len(dialogue.turns) for dialogue in some) for some in (able, made()))
    assert asked + sum(row.questions for row in without.values()) == total
    assert without["segment_inpaint"].skills == ("sam", "inpainting")
    assert without["mixed_turns"].skills == ("grounding_dino", "grounding_dino+sam", "blip2")
    assert without.keys() == NEEDS.keys() - {dialogue.row for dialogue in able}
    records = [{"row": "ram", "wrong": "no"}, {"row": "ram", "wrong": ""}]
    assert headline(records, 30, {"caption": LeftOut(20, ("blip2",))}) == (
        "Asked: 2 of 30 questions. Right, of those asked: 1/2, 50% (9 to 91). "
        "Not asked, since the platform lacks their rows' skills: 20. Not asked yet: 8."
    )
