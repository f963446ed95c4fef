"""What is drawn over pictures is where it should be, and can be reached, hidden, compared and downloaded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.web.actions import MEADOW, POSTER, Talk, at, close
from tests.web.conftest import Watch
from tests.web.fakes import GRASS, KOALA, PIG, SKY

RED, BLUE = (229, 72, 77), (0, 144, 255)


def _has(picture: Image.Image, colour: tuple[int, int, int], x: float, y: float, reach: int = 5) -> bool:
    """Whether a colour is within some pixels of a place."""
    left, top = int(x * picture.width), int(y * picture.height)
    places = [(left + dx, top + dy) for dx in range(-reach, reach + 1) for dy in range(-reach, reach + 1)]
    inside = [(a, b) for a, b in places if 0 <= a < picture.width and 0 <= b < picture.height]
    return any(close(picture.getpixel(place), colour, 24) for place in inside)  # type: ignore[arg-type]


def test_boxes_are_drawn_where_they_were_found(talk: Talk) -> None:
    turn = talk.ask("Find the pig and the koala.", MEADOW)
    shown = talk.pixels(".frame")
    for (x0, y0, x1, y1), colour in ((PIG, RED), (KOALA, BLUE)):
        for x, y in ((x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), ((x0 + x1) / 2, y1)):
            assert _has(shown, colour, x, y)
        assert not _has(shown, colour, (x0 + x1) / 2, (y0 + y1) / 2, 2)
    expect(turn.locator(".tag")).to_have_text(["pig 93%", "koala 88%"])
    expect(turn.locator(".frame img")).to_have_attribute("alt", "Picture: meadow.webp, with pig, koala marked")


def test_a_mask_tints_what_it_covers_and_nothing_else(talk: Talk) -> None:
    plain = Image.open(MEADOW).convert("RGB")
    talk.ask("Find and cut the animals.", MEADOW)
    shown = talk.pixels(".frame")
    x, y = (PIG[0] + PIG[2]) / 2, PIG[1] + 0.6 * (PIG[3] - PIG[1])
    mixed = tuple(round(0.42 * tint + 0.58 * base) for tint, base in zip(RED, at(plain, x, y), strict=True))
    assert close(at(shown, x, y), mixed, 30)
    assert close(at(shown, 0.75, 0.3), at(plain, 0.75, 0.3), 12)


def test_masks_cut_in_boxes_carry_the_names_of_the_boxes(talk: Talk) -> None:
    turn = talk.ask("Find and cut the animals.", MEADOW)
    expect(turn.locator(".chip")).to_have_text(["pig93%", "koala88%"])


def test_pointing_at_a_thing_shows_which_it_is(talk: Talk) -> None:
    turn = talk.ask("Find the pig and the koala.", MEADOW)
    talk.page.mouse.move(*talk.place(0.34, 0.55, ".frame"))
    expect(turn.locator(".tag.on")).to_have_text("pig 93%")
    expect(turn.locator(".tag.faded")).to_have_text("koala 88%")
    talk.page.mouse.move(*talk.place(0.8, 0.2, ".frame"))
    expect(turn.locator(".tag.on")).to_have_count(0)


def test_without_a_mouse_the_list_does_the_same(talk: Talk) -> None:
    turn = talk.ask("Find the pig and the koala.", MEADOW)
    turn.locator(".chip").nth(1).focus()
    expect(turn.locator(".tag.on")).to_have_text("koala 88%")
    talk.page.keyboard.press("Enter")
    expect(turn.locator(".chip").nth(1)).to_have_attribute("aria-pressed", "false")
    talk.page.keyboard.press("Shift+Tab")
    shown = talk.pixels(".frame")
    assert not _has(shown, BLUE, KOALA[0], (KOALA[1] + KOALA[3]) / 2)
    turn.get_by_role("button", name="Show what was found").click()
    expect(turn.locator(".boxes .off")).to_have_count(2)


def test_lines_of_text_are_outlined_and_listed(talk: Talk) -> None:
    turn = talk.ask("What does this poster say?", POSTER)
    expect(turn.locator(".boxes g")).to_have_count(6)
    turn.locator("summary", has_text="6 lines of text found").click()
    turn.locator(".chip").nth(1).focus()
    expect(turn.locator(".tag.on")).to_have_text("Saturday 12 June 97%")


def test_a_map_is_mixed_into_its_picture_and_names_its_classes(talk: Talk) -> None:
    plain = Image.open(MEADOW).convert("RGB")
    turn = talk.ask("Show me what every part of this picture is.", MEADOW)
    expect(turn.locator(".chip")).to_have_text(["grass55%", "sky45%"])
    talk.page.wait_for_function("() => document.querySelector('.layer.map').width === 256")
    shown = talk.pixels(".frame")
    for (x, y), colour in (((0.7, 0.25), SKY), ((0.7, 0.9), GRASS)):
        mixed = tuple(round(0.55 * one + 0.45 * base) for one, base in zip(colour, at(plain, x, y), strict=True))
        assert close(at(shown, x, y), mixed, 30)
    talk.page.mouse.move(*talk.place(0.5, 0.2, ".frame"))
    expect(turn.locator(".tag.floating")).to_have_text("sky")
    talk.page.mouse.move(*talk.place(0.5, 0.9, ".frame"))
    expect(turn.locator(".tag.floating")).to_have_text("grass")


def test_the_slider_shows_the_picture_before_and_after(talk: Talk) -> None:
    before = Image.open(MEADOW).convert("RGB")
    turn = talk.ask("Make it winter", MEADOW)
    place = (0.3, 0.8)
    turn.locator(".divide").fill("100")
    assert close(at(talk.pixels(".frame"), *place), at(before, *place), 30)
    turn.locator(".divide").fill("0")
    after = talk.pixels(".frame")
    assert not close(at(after, *place), at(before, *place), 30)
    turn.locator(".divide").fill("50")
    shown = talk.pixels(".frame")
    assert close(at(shown, *place), at(before, *place), 30)
    assert close(at(shown, 0.7, 0.8), at(after, 0.7, 0.8), 12)
    talk.drag_slider(turn)
    assert int(turn.locator(".divide").input_value()) < 30


def test_an_opened_conversation_finds_the_original_by_the_lineage(talk: Talk) -> None:
    talk.ask("Make it winter", MEADOW)
    talk.page.reload()
    expect(talk.page.locator(".turn .divide")).to_be_visible()


def test_a_follow_up_is_about_the_picture_that_was_made(talk: Talk) -> None:
    talk.ask("Make it winter", MEADOW)
    made = talk.page.locator(".turn .after").get_attribute("src")
    turn = talk.ask("Find the pig and the koala.")
    assert "image_url" not in talk.parts
    assert turn.locator(".frame img").first.get_attribute("src") == made
    expect(turn.locator(".tag")).to_have_text(["pig 93%", "koala 88%"])


def test_pictures_are_downloaded_as_they_are_and_with_what_was_found(talk: Talk, tmp_path: Path) -> None:
    turn = talk.ask("Find and cut the animals.", MEADOW)
    with talk.page.expect_download() as original:
        turn.get_by_role("link", name="Download the picture").click()
    original.value.save_as(tmp_path / "original")
    assert (tmp_path / "original").read_bytes() == MEADOW.read_bytes()
    with talk.page.expect_download() as drawn:
        turn.get_by_role("button", name="Download with what was found").click()
    drawn.value.save_as(tmp_path / "drawn.png")
    picture = Image.open(tmp_path / "drawn.png").convert("RGB")
    assert picture.size == (256, 256)
    assert _has(picture, RED, PIG[0], (PIG[1] + PIG[3]) / 2, 2)


def test_a_picture_that_is_no_longer_kept_says_so(talk: Talk, watch: Watch) -> None:
    talk.ask("Find the pig and the koala.", MEADOW)
    talk.page.route("**/v1/images/*", lambda route: route.fulfill(status=404, body=""))
    watch.allowed = ("Failed to load resource: the server responded with a status of 404",)
    talk.page.reload()
    expect(talk.page.locator(".gone")).to_have_text("This picture is no longer kept.")
