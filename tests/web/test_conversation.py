"""Asking and being answered: by mouse, by keyboard alone, and when something goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.web.actions import MEADOW, POSTER, Talk
from tests.web.conftest import Watch
from tests.web.site import Site


def test_an_answer_comes_with_the_picture_and_the_talk_goes_on(talk: Talk) -> None:
    turn = talk.ask("What does this poster say?", POSTER)
    expect(turn.locator(".answer")).to_contain_text("Summer Book Fair")
    expect(turn.locator(".frame img")).to_be_visible()
    assert [part["type"] for part in talk.sent[0]["messages"][0]["content"]] == ["text", "image_url"]
    assert "session_id" not in talk.sent[0]
    again = talk.ask("Thank you!")
    expect(again.locator(".answer")).to_have_text("You asked: Thank you! I see 1 picture(s).")
    assert talk.sent[1]["session_id"].startswith("sess_")
    assert talk.page.url.endswith(f"#/c/{talk.sent[1]['session_id']}")


def test_words_are_shown_as_they_come(talk: Talk) -> None:
    talk.page.fill("#question", "hang")
    talk.page.keyboard.press("Enter")
    expect(talk.page.locator(".answer")).to_contain_text("You asked: hang")
    expect(talk.page.locator("#stop")).to_be_visible()
    talk.page.click("#stop")


def test_while_a_tool_runs_its_name_is_shown(talk: Talk) -> None:
    seen = "document.querySelector('.turn .status').textContent"
    talk.page.evaluate(
        """() => {
          window.said = [];
          new MutationObserver(() => window.said.push(document.querySelector(".turn .status")?.textContent))
            .observe(document.getElementById("turns"), { subtree: true, childList: true, characterData: true });
        }"""
    )
    talk.ask("What does this poster say?", POSTER)
    assert "Using easyocr" in talk.page.evaluate("window.said")
    assert talk.page.evaluate(seen) == ""


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(talk: Talk, how: str) -> None:
    talk.give(MEADOW, how)
    expect(talk.page.locator("#attached li img")).to_be_visible()
    talk.give(POSTER, how)
    expect(talk.page.locator("#attached li img")).to_have_count(2)
    talk.page.click("#attached li:first-child [aria-label^=Remove]")
    expect(talk.page.locator("#attached li")).to_have_count(1)
    turn = talk.ask("What does this poster say?")
    expect(turn.locator(".answer")).to_contain_text("Summer Book Fair")


def _tab_to(page: Any, selector: str) -> None:
    for _ in range(60):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {selector}")


def test_the_whole_conversation_goes_by_keyboard_alone(talk: Talk) -> None:
    """From the first example through marking, asking, looking, changing and a new conversation, without a mouse."""
    page, keys = talk.page, talk.page.keyboard
    page.wait_for_selector(".prompt")
    _tab_to(page, ".prompt")
    keys.press("Enter")
    expect(page.locator("#question")).to_be_focused()
    expect(page.locator("#attached img")).to_be_visible()
    keys.press("Enter")
    expect(talk.answered(1).locator(".answer")).to_contain_text("Summer Book Fair")
    expect(page.locator("#question")).to_be_focused()
    _tab_to(page, "#draw")
    keys.press("Enter")
    expect(page.locator(".pad")).to_be_focused()
    keys.press("3")
    for key in ["Enter", *["ArrowRight"] * 5, *["ArrowDown"] * 5, "Enter"]:
        keys.press(key)
    expect(page.locator("#editor-marks")).to_have_text("1 box")
    keys.press("Control+Enter")
    expect(page.locator("#question")).to_be_focused()
    keys.type("Cut out what is in the box.")
    keys.press("Enter")
    turn = talk.answered(2)
    assert talk.parts["boxes"]["boxes"] == [[0.5, 0.5, 0.6, 0.6]]
    page.keyboard.press("Shift+Tab")
    _tab_back_to(page, ".turn:last-child .chip")
    expect(turn.locator(".tag.on")).to_have_text("Mask 1 91%")
    keys.press("Control+k")
    keys.type("Make it winter")
    keys.press("Enter")
    changed = talk.answered(3)
    page.keyboard.press("Shift+Tab")
    _tab_back_to(page, ".divide")
    keys.press("ArrowRight")
    expect(changed.locator(".divide")).to_have_value("51")
    keys.press("Control+Shift+O")
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#question")).to_be_focused()


def _tab_back_to(page: Any, selector: str) -> None:
    for _ in range(60):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Shift+Tab")
    raise AssertionError(f"Shift+Tab does not reach {selector}")


def test_focus_is_always_seen(talk: Talk) -> None:
    talk.page.wait_for_selector(".prompt")
    for _ in range(25):
        talk.page.keyboard.press("Tab")
        seen = talk.page.evaluate(
            """() => {
              const node = document.activeElement;
              if (node === document.body) return "body";
              const around = node.id === "question" ? node.closest(".composer") : node;
              const style = getComputedStyle(around);
              return style.outlineStyle !== "none" || style.boxShadow !== "none" ? "seen" : node.outerHTML;
            }"""
        )
        assert seen in ("seen", "body")


@pytest.mark.parametrize("how", ["button", "key"])
def test_stop_ends_the_stream_and_the_work_behind_it(talk: Talk, site: Site, how: str) -> None:
    talk.page.fill("#question", "hang on")
    talk.page.keyboard.press("Enter")
    expect(talk.page.locator(".answer")).to_contain_text("You asked")
    talk.page.fill("#question", "what I write meanwhile")
    if how == "button":
        talk.page.click("#stop")
    else:
        talk.page.keyboard.press("Escape")
    assert site.planner.cancelled.wait(15)
    expect(talk.page.locator(".notes")).to_contain_text("Stopped. This is what had come.")
    expect(talk.page.locator("#send")).to_be_visible()
    expect(talk.page.locator("#question")).to_have_value("what I write meanwhile")
    talk.page.fill("#question", "")
    talk.page.click("text=Edit the question")
    expect(talk.page.locator("#question")).to_have_value("hang on")


def test_an_error_says_what_to_do_and_another_try_succeeds(talk: Talk, site: Site, watch: Watch) -> None:
    watch.allowed = ("Failed to load resource: the server responded with a status of 503",)
    site.planner.fails = True
    turn = talk.ask("What does this poster say?", POSTER)
    error = turn.get_by_role("alert")
    expect(error).to_contain_text("The planner is starting.")
    expect(error).to_contain_text("Try again in a moment.")
    expect(error).to_contain_text("Request id: req_")
    site.planner.fails = False
    turn.get_by_role("button", name="Try again").click()
    expect(turn.locator(".answer")).to_contain_text("Summer Book Fair")
    expect(turn.get_by_role("alert")).to_have_count(0)
    assert len(talk.sent) == 2


def test_a_file_that_is_no_picture_is_refused_in_its_place(talk: Talk, watch: Watch, tmp_path: Any) -> None:
    watch.allowed = ("Failed to load resource: the server responded with a status of 400",)
    (tmp_path / "words.png").write_text("not a picture")
    talk.page.set_input_files("#file", tmp_path / "words.png")
    expect(talk.page.locator("#attached [role=alert]")).to_be_visible()
    talk.page.fill("#question", "What is it?")
    talk.page.keyboard.press("Enter")
    expect(talk.page.locator("#hint")).to_contain_text("remove it")
    expect(talk.page.locator("#question")).to_have_value("What is it?")
    talk.page.click("[aria-label='Remove words.png']")
    turn = talk.send()
    expect(turn.locator(".answer")).to_contain_text("You asked: What is it?")


def test_what_is_written_outlives_a_reload(talk: Talk) -> None:
    talk.attach(MEADOW)
    talk.mark()
    talk.tool("point")
    talk.page.mouse.click(*talk.place(0.25, 0.5))
    talk.done()
    talk.page.fill("#question", "A question that is not sent yet")
    talk.page.reload()
    talk.page.wait_for_selector("body[data-ready]")
    expect(talk.page.locator("#question")).to_have_value("A question that is not sent yet")
    expect(talk.page.locator("#attached")).to_contain_text("1 point")
    talk.send()
    assert talk.parts["points"]["points"] == [[pytest.approx(0.25, abs=0.01), pytest.approx(0.5, abs=0.01)]]


def test_a_gateway_that_restarts_is_found_again_and_the_question_answered(talk: Talk, site: Site, watch: Watch) -> None:
    watch.allowed = ("Failed to load resource: net::ERR_",)
    talk.ask("Hello there")
    talk.page.fill("#question", "hang")
    talk.page.keyboard.press("Enter")
    expect(talk.page.locator(".turn").nth(1).locator(".answer")).to_contain_text("You asked: hang")
    site.stop(at_once=True)
    try:
        expect(talk.page.locator("#offline")).to_be_visible()
        expect(talk.page.locator(".turn").nth(1)).to_contain_text("Waiting for the gateway")
        talk.page.fill("#question", "kept")
    finally:
        site.start()
    talk.page.dispatch_event("#offline-retry", "click")  # not click(): the page may have found it by itself by now
    expect(talk.page.locator("#offline")).to_be_hidden()
    expect(talk.page.locator(".turn").nth(1).locator(".answer")).to_contain_text("You asked: hang")
    expect(talk.page.locator("#question")).to_have_value("kept")
    talk.page.keyboard.press("Escape")
    expect(talk.page.locator(".turn").nth(1)).to_contain_text("Stopped")


def test_the_mode_is_sent_and_remembered(talk: Talk) -> None:
    talk.page.select_option("#mode", "all_tools")
    talk.ask("What is here?", MEADOW)
    assert talk.sent[-1]["mode"] == "all_tools"
    talk.page.reload()
    expect(talk.page.locator("#mode")).to_have_value("all_tools")


def test_a_reader_is_told_of_the_answer(talk: Talk) -> None:
    talk.ask("Hello there")
    expect(talk.page.locator("#announcer")).to_have_text("Answer: You asked: Hello there I see 0 picture(s).")
