"""Drawing on a picture: each tool gives the part of the message that it means, with coordinates from 0 to 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from services.core.types import MaskRLE
from tests.web.actions import MEADOW, POSTER, Talk, at, close


def near(*values: float) -> list[object]:
    return [pytest.approx(value, abs=0.012) for value in values]


def test_points_on_and_beside_the_thing(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.mark()
    talk.page.mouse.click(*talk.place(0.3, 0.55))
    talk.tool("beside")
    talk.page.mouse.click(*talk.place(0.9, 0.1))
    expect(talk.page.locator("#editor .dot")).to_have_count(2)
    talk.done()
    talk.ask("Cut out what is at the point.")
    assert talk.parts["points"]["labels"] == [1, 0]
    assert talk.parts["points"]["points"] == [near(0.3, 0.55), near(0.9, 0.1)]
    assert talk.sent[-1]["messages"][-1]["content"][1]["image_url"]["url"].startswith("img_")


def test_boxes_from_any_corner(talk: Talk) -> None:
    talk.attach(POSTER)
    talk.mark()
    talk.tool("box")
    talk.drag((0.2, 0.3), (0.6, 0.7))
    talk.drag((0.95, 0.2), (0.7, 0.05))
    expect(talk.page.locator("#editor-marks")).to_have_text("2 boxes")
    talk.done()
    talk.ask("Cut out what is in the box.")
    assert talk.parts["boxes"]["boxes"] == [near(0.2, 0.3, 0.6, 0.7), near(0.7, 0.05, 0.95, 0.2)]


def test_a_click_is_no_box(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.mark()
    talk.tool("box")
    talk.page.mouse.click(*talk.place(0.5, 0.5))
    expect(talk.page.locator("#editor-marks")).to_have_text("Nothing is marked yet.")


def test_a_mask_is_painted_rubbed_out_and_taken_back(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.mark()
    talk.tool("brush")
    talk.page.fill("#editor-size", "5")
    talk.drag((0.2, 0.5), (0.8, 0.5))
    talk.tool("eraser")
    talk.drag((0.5, 0.3), (0.5, 0.7))
    talk.page.click("#editor-undo")
    talk.drag((0.7, 0.3), (0.7, 0.7))
    talk.done()
    talk.ask("Repaint this.")
    drawn = MaskRLE.model_validate(talk.parts["mask"]["mask"])
    assert drawn.size == (256, 256)
    mask = drawn.to_array()
    assert mask[128, 60]
    assert mask[128, 128], "the first rubbing was taken back"
    assert not mask[128, 179], "the second was not"
    assert not mask[90, 60]
    assert mask[:, 60].sum() == pytest.approx(0.1 * 256, abs=3), "as thick as the slider says"
    assert [name for name, _, _ in talk.site.skills.calls] == ["inpainting"]  # type: ignore[union-attr]


def test_a_large_picture_is_painted_in_its_own_shape(talk: Talk, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1500), "white").save(tmp_path / "wide.png")
    talk.attach(tmp_path / "wide.png")
    talk.mark()
    talk.tool("brush")
    talk.drag((0.25, 0.5), (0.3, 0.5))
    talk.done()
    talk.ask("Repaint this.")
    mask = MaskRLE.model_validate(talk.parts["mask"]["mask"]).to_array()
    assert mask.shape == (512, 1024)
    assert mask[256, 270]
    assert not mask[256, 512]


def test_clear_and_cancel(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.mark()
    talk.page.mouse.click(*talk.place(0.5, 0.5))
    talk.page.click("#editor-clear")
    expect(talk.page.locator("#editor-marks")).to_have_text("Nothing is marked yet.")
    talk.page.click("#editor-undo")
    expect(talk.page.locator("#editor-marks")).to_have_text("1 point")
    talk.page.click("#editor-back")
    expect(talk.page.locator("#attached")).not_to_contain_text("point")


def test_everything_can_be_drawn_by_keys(talk: Talk) -> None:
    talk.attach(MEADOW)
    keys = talk.page.keyboard
    talk.mark()
    keys.press("Enter")
    keys.press("2")
    for key in [*["ArrowLeft"] * 10, "Shift+ArrowLeft", "Enter"]:
        keys.press(key)
    keys.press("3")
    for key in ["Enter", *["ArrowRight"] * 5, *["ArrowUp"] * 5, "Enter"]:
        keys.press(key)
    keys.press("4")
    for key in ["Enter", *["ArrowDown"] * 5, "Enter"]:
        keys.press(key)
    keys.press("Control+Enter")
    talk.page.locator("#editor").wait_for(state="hidden")
    talk.ask("Look at it.")
    assert talk.parts["points"] == {"type": "points", "points": [[0.5, 0.5], [0.295, 0.5]], "labels": [1, 0]}
    assert talk.parts["boxes"]["boxes"] == [[0.295, 0.4, 0.395, 0.5]]
    mask = MaskRLE.model_validate(talk.parts["mask"]["mask"]).to_array()
    assert mask[int(0.45 * 256), int(0.395 * 256)]


def test_a_finger_draws_too(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.mark()
    talk.tool("box")
    talk.page.evaluate(
        """() => {
          const pad = document.querySelector(".pad");
          const { left, top, width, height } = pad.getBoundingClientRect();
          const send = (name, x, y) => pad.dispatchEvent(new PointerEvent(name, {
            pointerType: "touch", pointerId: 7, isPrimary: true, button: 0, buttons: 1, bubbles: true, cancelable: true,
            clientX: left + x * width, clientY: top + y * height,
          }));
          pad.setPointerCapture = () => {};
          send("pointerdown", 0.1, 0.2); send("pointermove", 0.4, 0.5); send("pointerup", 0.4, 0.5);
        }"""
    )
    talk.done()
    talk.ask("Cut out what is in the box.")
    assert talk.parts["boxes"]["boxes"] == [near(0.1, 0.2, 0.4, 0.5)]


def test_a_reference_region_is_another_picture_with_its_mask(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.page.set_input_files("#example-file", POSTER)
    talk.page.locator(".pad").wait_for()
    expect(talk.page.locator("#editor [data-tool=box]")).to_be_hidden()
    talk.drag((0.4, 0.5), (0.6, 0.5))
    talk.done()
    expect(talk.page.locator("#attached")).to_contain_text("example region")
    turn = talk.ask("Find what is like the example.")
    parts = talk.parts
    assert parts["reference"]["image"].startswith("img_")
    assert parts["reference"]["image"] != parts["image_url"]["image_url"]["url"]
    mask = MaskRLE.model_validate(parts["reference"]["mask"]).to_array()
    assert mask.shape == (420, 640)
    assert mask[210, 320]
    expect(turn.locator(".reference img")).to_be_visible()
    expect(turn.locator(".chip")).to_have_text("Mask 190%")


def test_marks_go_with_the_last_picture_of_the_message(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.attach(POSTER)
    talk.page.click("#attached li:first-child [aria-label^=Mark]")
    talk.page.locator(".pad").wait_for()
    talk.page.mouse.click(*talk.place(0.5, 0.5))
    talk.done()
    meadow = talk.page.evaluate("JSON.parse(localStorage['llava-plus.draft']).pictures.find(p => p.marks).id")
    talk.ask("What is at the point?")
    pictures = [part for part in talk.sent[-1]["messages"][-1]["content"] if part["type"] == "image_url"]
    assert [picture["image_url"]["url"] for picture in pictures][-1] == meadow


def test_a_picture_of_the_conversation_is_marked_again(talk: Talk) -> None:
    talk.ask("Find the pig and the koala.", MEADOW)
    talk.page.click("[aria-label='Mark this picture and ask about it']")
    talk.page.locator(".pad").wait_for()
    talk.tool("box")
    talk.drag((0.2, 0.4), (0.5, 0.7))
    talk.done()
    turn = talk.ask("Cut out what is in the box.")
    assert talk.parts["image_url"]["image_url"]["url"] == talk.sent[0]["messages"][-1]["content"][1]["image_url"]["url"]
    assert talk.parts["boxes"]["boxes"] == [near(0.2, 0.4, 0.5, 0.7)]
    expect(turn.locator(".marks rect")).to_have_count(2)


def test_an_opened_conversation_shows_what_was_marked(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.page.set_input_files("#example-file", POSTER)
    talk.page.locator(".pad").wait_for()
    talk.drag((0.4, 0.5), (0.6, 0.5))
    talk.done()
    talk.mark()
    talk.tool("box")
    talk.drag((0.1, 0.1), (0.4, 0.4))
    talk.tool("brush")
    talk.page.fill("#editor-size", "20")
    talk.drag((0.6, 0.7), (0.8, 0.7))
    talk.done()
    talk.ask("What is here?")
    asked = talk.pixels(".turn .stage .frame")
    talk.page.reload()
    turn = talk.answered(1)
    expect(turn.locator(".stage .line.drawn")).to_have_count(1)
    expect(turn.locator(".reference .area")).to_have_count(1)
    talk.page.wait_for_load_state("networkidle")
    opened = talk.pixels(".turn .stage .frame")
    bare = Image.open(MEADOW).convert("RGB")
    assert close(at(opened, 0.7, 0.7), at(asked, 0.7, 0.7)), "the mask has its tint again"
    assert not close(at(opened, 0.7, 0.7), at(bare, 0.7, 0.7))
    assert close(at(opened, 0.7, 0.4), at(bare, 0.7, 0.4))
    talk.mark()
    talk.done()
