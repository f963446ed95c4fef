"""Pictures and results for planner data: published data sets in their own form, and a running platform."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from planner.data.exact import ExactResults
from planner.data.gateway_results import GatewayResults
from planner.data.labels import noun
from planner.data.readers import read
from planner.data.recipe import DataError, PictureSettings
from planner.data.results import Asked, NoResult
from tests.planner_data_scenes import SILENT, desk, picture, registry, write_json, write_lines


def settings(source: str, **more: Any) -> PictureSettings:
    return PictureSettings.model_validate({"source": source} | more)


def test_coco_is_read_with_boxes_masks_and_captions(tmp_path: Path) -> None:
    instances = {
        "images": [{"id": 7, "file_name": "7.jpg", "width": 100, "height": 50}, {"id": 8, "file_name": "8.jpg"}],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [10, 10, 20, 30], "area": 600, "iscrowd": 0,
             "segmentation": [[10, 10, 30, 10, 30, 40, 10, 40]]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 100, 50], "area": 5000, "iscrowd": 1,
             "segmentation": {"size": [50, 100], "counts": [0, 5000]}},
        ],
    }  # fmt: skip
    captions = {"annotations": [{"image_id": 7, "caption": "A person \n stands."}]}
    read_set = read(
        settings(
            "coco",
            annotations=write_json(tmp_path / "i.json", instances),
            captions=write_json(tmp_path / "c.json", captions),
        )
    )
    assert len(read_set) == 1
    one = read_set[0]
    assert one.captions == ("A person stands.",)
    assert one.objects[0].box == pytest.approx((0.1, 0.2, 0.3, 0.8))
    assert one.objects[0].mask is not None
    assert one.objects[0].mask().sum() == pytest.approx(600, rel=0.1)
    assert read_set.vocabulary.nouns[0].plural == "people"


@pytest.mark.parametrize(("name", "one", "several"), [
    ("scissors", "a pair of scissors", "scissors"),
    ("skis", "a pair of skis", "skis"),
    ("broccoli", "a broccoli", "broccoli"),
    ("wine glass", "a wine glass", "wine glasses"),
])  # fmt: skip
def test_categories_are_named_as_people_do(name: str, one: str, several: str) -> None:
    assert (noun(name).one, noun(name).plural) == (one, several)


def test_hiertext_is_read_line_by_line(tmp_path: Path) -> None:
    corners = [[0, 0], [50, 0], [50, 10], [0, 10]]
    lines = [
        {"text": "OPEN", "legible": True, "vertices": corners},
        {"text": "?", "legible": False, "vertices": corners},
    ]
    entry = {"image_id": "ab", "image_width": 100, "image_height": 100, "paragraphs": [{"lines": lines}]}
    path = write_json(tmp_path / "train.jsonl", {"info": {}, "annotations": [entry]})
    one = read(settings("hiertext", annotations=path))[0]
    assert (one.name, one.lines) == ("ab.jpg", (("OPEN", (0.0, 0.0, 0.5, 0.1)),))


def test_infoseek_is_read_with_its_entities(tmp_path: Path) -> None:
    row = {"data_id": "t_1", "image_id": "oven_1", "question": "How tall is it?", "answer": ["330 m"]}
    path = write_lines(tmp_path / "infoseek_train.jsonl", [row])
    write_lines(tmp_path / "infoseek_train_withkb.jsonl", [{"data_id": "t_1", "entity_text": "Eiffel Tower"}])
    one = read(settings("infoseek", annotations=path))[0]
    assert one.extra == {"question": "How tall is it?", "answer": "330 m", "entity": "Eiffel Tower"}
    known = ExactResults(SILENT).call(Asked("clip_retrieval", {}, one))
    assert known["retrieval_results"][0]["caption"] == "Eiffel Tower: 330 m"


def test_infoseek_is_read_packed_as_it_was_downloaded(tmp_path: Path) -> None:
    rows = {
        "infoseek_val": {"data_id": "v_1", "image_id": "oven_1", "question": "What?", "answer": ["this"]},
        "infoseek_val_withkb": {"data_id": "v_1", "entity_text": "Thing"},
    }
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    one = read(settings("infoseek", annotations=tmp_path / "infoseek_val.jsonl.gz"))[0]
    assert one.extra["entity"] == "Thing"


def test_journeydb_prompts_lose_the_painters_options(tmp_path: Path) -> None:
    rows = [
        {"img_path": "./000/a.jpg", "prompt": "a red fox, snow --ar 16:9 --v 4", "Task2": {"Caption": "A fox."}},
        {"img_path": "./000/b.jpg", "prompt": "x" * 400},
    ]
    read_set = read(settings("journeydb", annotations=write_lines(tmp_path / "anno.jsonl", rows)))
    assert len(read_set) == 1
    assert read_set[0].extra == {"scene": "a red fox, snow"}
    assert read_set[0].name == "000/a.jpg"


def test_instruct_pix2pix_pairs_are_read_from_their_folders(tmp_path: Path) -> None:
    write_json(tmp_path / "seeds.json", [["0001", ["55", "66"]]])
    write_json(
        tmp_path / "0001" / "prompt.json", {"input": "a lake", "edit": "Make it snow.", "output": "a lake in snow"}
    )
    one = read(settings("instruct_pix2pix", images=tmp_path))[0]
    assert one.name == "0001/55_0.jpg"
    assert one.extra == {"edit": "make it snow", "after": "0001/55_1.jpg"}


def test_an_edit_that_came_with_the_picture_is_what_is_asked_for() -> None:
    from planner.data.rows.painting import edit

    given = picture(extra={"edit": "make it snow"})
    found = {str(edit(desk(seed, given)).actions[0].API_params["prompt"]) for seed in range(30)}
    assert "make it snow" in found


def test_a_data_set_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.json"):
        read(settings("coco", annotations=tmp_path / "bad.json"))
    with pytest.raises(DataError, match="needs `annotations`"):
        read(settings("hiertext"))


def test_results_come_from_a_platform_with_pictures_sent_along() -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content) | {"path": request.url.path})
        return httpx.Response(503) if len(seen) == 1 else httpx.Response(200, json={"result": {"caption": "a dog"}})

    waits: list[float] = []
    platform = GatewayResults(
        "http://127.0.0.1:9", registry(), transport=httpx.MockTransport(answer), wait=waits.append
    )
    assert platform.call(Asked("blip2", {"prompt": "who?"}, picture())) == {"caption": "a dog"}
    assert seen[1]["path"] == "/v1/tools/blip2"
    assert seen[1]["arguments"] == {"prompt": "who?"}
    assert seen[1]["image"].startswith("data:image/png;base64,")
    assert len(waits) == 1


def test_a_call_that_the_platform_refuses_is_no_result() -> None:
    platform = GatewayResults(
        "http://127.0.0.1:9", registry(), transport=httpx.MockTransport(lambda request: httpx.Response(400))
    )
    with pytest.raises(NoResult, match="answered 400"):
        platform.call(Asked("ram", {}, picture()))


@pytest.mark.parametrize("status", [401, 403])
def test_a_platform_that_takes_no_call_at_all_ends_the_build(status: int) -> None:
    platform = GatewayResults(
        "http://127.0.0.1:9", registry(), transport=httpx.MockTransport(lambda request: httpx.Response(status))
    )
    with pytest.raises(DataError, match=rf"does not take the key \({status}\): set LLAVA_PLUS_API_KEY"):
        platform.call(Asked("ram", {}, picture()))


def test_masks_and_examples_are_sent_to_skills_that_want_them() -> None:
    sent: dict[str, Any] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        sent.update(json.loads(request.content))
        return httpx.Response(200, json={"result": {}})

    platform = GatewayResults("http://127.0.0.1:9", registry(), transport=httpx.MockTransport(answer))
    platform.call(Asked("seem", {}, picture(), reference=(picture("two.jpg"), 0)))
    assert {"image", "reference_image", "reference_mask"} <= sent.keys()
    platform.call(Asked("inpainting", {"prompt": "a cat"}, picture()))
    assert "mask" in sent
