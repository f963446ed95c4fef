"""The shipped tiny checkpoints, through the platform, on the example scenes of the embedded world."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.core.types import MaskRLE
from tests.e2e.conftest import ROOT, Stack

pytestmark = pytest.mark.stack

SCENES = sorted((ROOT / "tests/data/scenes").glob("*.webp"))


def call(stack: Stack, tool: str, scene: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    if tool not in offered(stack):
        pytest.skip(f"the embedded profile does not offer {tool} yet: its checkpoint is not trained")
    picture = "data:image/webp;base64," + base64.b64encode(scene.read_bytes()).decode()
    answer = httpx.post(
        f"{stack.address}/v1/tools/{tool}", json={"image": picture, "arguments": arguments}, timeout=60.0
    )
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


def offered(stack: Stack) -> list[str]:
    return [tool["name"] for tool in httpx.get(f"{stack.address}/v1/tools", timeout=10.0).json()["data"]]


def labels(scene: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scene.with_suffix(".json").read_text())
    return found


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inside = max(width, 0.0) * max(height, 0.0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def hit(item: dict[str, Any], result: dict[str, Any]) -> bool:
    pairs = zip(result["phrases"], result["boxes"], strict=True)
    return any(item["concept"] == phrase and overlap(item["box"], box) > 0.5 for phrase, box in pairs)


def caption(items: list[dict[str, Any]]) -> str:
    return " . ".join(sorted({item["concept"] for item in items}))


@pytest.mark.parametrize("tool", ["grounding_dino", "grounding_dino+sam"])
def test_most_things_are_found_where_they_are(stack: Stack, tool: str) -> None:
    found = wanted = 0
    for scene in SCENES:
        items = labels(scene)["objects"]
        result = call(stack, tool, scene, {"caption": caption(items)})
        found += sum(hit(item, result) for item in items)
        wanted += len(items)
        if tool == "grounding_dino+sam":
            assert [MaskRLE.model_validate(mask).size for mask in result["masks_rle"]] == [(256, 256)] * len(
                result["boxes"]
            )
    assert found / wanted > 0.7


def test_a_mask_stays_in_the_box_that_was_given(stack: Stack) -> None:
    for scene in SCENES[:4]:
        box = labels(scene)["objects"][0]["box"]
        result = call(stack, "sam", scene, {"boxes": [box]})
        mask = MaskRLE.model_validate(result["masks_rle"][0]).to_array()
        rows, columns = mask.nonzero()
        inside = (columns > box[0] * 256 - 8) & (columns < box[2] * 256 + 8)
        inside &= (rows > box[1] * 256 - 8) & (rows < box[3] * 256 + 8)
        assert mask.sum() > 50
        assert inside.mean() > 0.8


def test_what_is_not_in_the_picture_is_not_found(stack: Stack) -> None:
    scene = ROOT / "tests/data/scenes/grass.webp"
    result = call(stack, "grounding_dino", scene, {"caption": "shark . rocket . guitar"})
    assert result["boxes"] == []


def test_a_caption_that_names_nothing_is_the_callers_mistake(stack: Stack) -> None:
    scene = "data:image/webp;base64," + base64.b64encode(SCENES[0].read_bytes()).decode()
    answer = httpx.post(
        f"{stack.address}/v1/tools/grounding_dino", json={"image": scene, "arguments": {"caption": "..."}}, timeout=60.0
    )
    assert answer.status_code in (400, 422)
    assert "names nothing" in answer.json()["error"]["message"]


def test_tags_name_most_of_what_is_there(stack: Stack) -> None:
    shown = wanted = 0
    for scene in SCENES:
        tags = set(labels(scene)["tags"])
        shown += len(tags & set(call(stack, "ram", scene, {})["tags"]))
        wanted += len(tags)
    assert shown / wanted > 0.5


CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "grounding_dino": ({"caption": "bear"}, "boxes"),
    "sam": ({"points": [[[0.5, 0.5]]], "point_labels": [[1]]}, "masks_rle"),
    "grounding_dino+sam": ({"caption": "bear"}, "masks_rle"),
    "openseed": ({}, "image_seg"),
    "semantic_sam": ({"point": [0.5, 0.5]}, "levels"),
    "seem": ({}, "masks_rle"),
    "blip2": ({}, "caption"),
    "blip2+grounding_dino": ({}, "phrases"),
    "ram": ({}, "tags"),
    "ram+grounding_dino": ({}, "phrases"),
    "easyocr": ({}, "texts"),
    "clip_retrieval": ({"query": "bear", "top_k": 2}, "retrieval_results"),
    "stable_diffusion": ({"prompt": "a bear in the snow", "seed": 1}, "edited_image"),
    "instruct_pix2pix": ({"prompt": "make it night", "seed": 1}, "edited_image"),
    "inpainting": ({"prompt": "a bear", "seed": 1}, "edited_image"),
    "controlnet": ({"prompt": "a bear in the snow", "seed": 1}, "edited_image"),
}
"""A call of each tool of LLaVA-Plus's Table 2: its arguments, and a field of its result."""


@pytest.mark.parametrize("tool", CALLS)
def test_every_tool_answers_a_direct_call(stack: Stack, tool: str) -> None:
    scene = ROOT / "tests/data/scenes/autumn.webp"
    picture = "data:image/webp;base64," + base64.b64encode(scene.read_bytes()).decode()
    mask = labels(scene)["objects"][0]["mask"]
    arguments, field = CALLS[tool]
    pictures: dict[str, Any] = {"image": picture}
    if tool == "seem":
        pictures |= {"reference_image": picture, "reference_mask": mask}
    elif tool == "inpainting":
        pictures |= {"mask": mask}
    elif tool == "controlnet":
        pictures = {"image_seg": call(stack, "openseed", scene, {})["image_seg"]}
    elif tool == "stable_diffusion":
        pictures = {}
    answer = httpx.post(f"{stack.address}/v1/tools/{tool}", json=pictures | {"arguments": arguments}, timeout=60.0)
    assert answer.status_code == 200, answer.text
    assert field in answer.json()["result"]


def test_an_example_finds_its_like_in_the_picture_that_it_is_from(stack: Stack) -> None:
    overlaps = []
    for scene in SCENES:
        picture = "data:image/webp;base64," + base64.b64encode(scene.read_bytes()).decode()
        concept = labels(scene)["objects"][0]["concept"]
        masks = [item["mask"] for item in labels(scene)["objects"] if item["concept"] == concept]
        wanted = np.any([MaskRLE.model_validate(mask).to_array() for mask in masks], axis=0)
        body = {"image": picture, "reference_image": picture, "reference_mask": MaskRLE.from_array(wanted).model_dump()}
        answer = httpx.post(f"{stack.address}/v1/tools/seem", json=body, timeout=60.0)
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["result"]["masks_rle"] or [None]
        shown = MaskRLE.model_validate(found).to_array() if found else np.zeros_like(wanted)
        overlaps.append((shown & wanted).sum() / (shown | wanted).sum())
    assert np.mean(overlaps) > 0.4
