"""Around the conversation: the plan, past conversations, colours, the tools one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.web.actions import MEADOW, POSTER, Talk, close
from tests.web.conftest import Watch


def test_the_plan_is_hidden_until_it_is_asked_for_and_then_remembered(talk: Talk) -> None:
    turn = talk.ask("Find and cut the animals.", MEADOW)
    expect(talk.page.locator(".plan")).to_have_count(0)
    talk.page.click("#plan-switch")
    plan = turn.locator(".plan")
    expect(plan).to_contain_text("First find it, then cut it out.")
    expect(plan.locator(".call .name")).to_have_text(["grounding_dino", "sam"])
    expect(plan.locator(".call").first).to_contain_text("pig . koala")
    expect(plan.locator(".call").first.locator("small")).to_contain_text("fake/weights")
    expect(plan.locator("h4 small").first).to_contain_text("planner")
    expect(plan.locator(".step")).to_have_count(2)
    talk.page.reload()
    expect(talk.page.locator(".plan .call")).to_have_count(2)


def test_the_plan_tells_of_cached_results_and_of_errors(talk: Talk) -> None:
    talk.page.click("#plan-switch")
    talk.ask("What does this poster say?", POSTER)
    again = talk.ask("And what does it say now?")
    expect(again.locator(".call .badge")).to_have_text("cache hit")
    expect(again.locator(".notes .badge")).to_have_text("from the cache")
    failed = talk.ask("Explode it")
    expect(failed.locator(".call .badge").first).to_have_text("failed")
    expect(failed.locator(".call .reason").first).not_to_be_empty()


def test_past_conversations_are_listed_opened_and_deleted(talk: Talk) -> None:
    page = talk.page
    talk.ask("What does this poster say?", POSTER)
    page.click("#new-chat")
    expect(page.locator(".turn")).to_have_count(0)
    talk.ask("Make it winter", MEADOW)
    expect(page.locator("#sessions .title")).to_have_text(["Make it winter", "What does this poster say?"])
    expect(page.locator("#sessions [aria-current=true] .title")).to_have_text("Make it winter")
    page.click("#sessions li:nth-child(2) .open")
    expect(page.locator(".turn .answer")).to_contain_text("Summer Book Fair")
    expect(page.locator(".turn .boxes g")).to_have_count(6)
    page.hover("#sessions li:nth-child(2)")
    page.click("#sessions li:nth-child(2) [aria-label^=Delete]")
    page.click("text=Keep it")
    expect(page.locator("#sessions li")).to_have_count(2)
    page.click("#sessions li:nth-child(2) [aria-label^=Delete]")
    page.locator("#confirm").get_by_role("button", name="Delete").click()
    expect(page.locator("#sessions .title")).to_have_text(["Make it winter"])
    expect(page.locator(".turn")).to_have_count(0)


def test_a_conversation_that_is_gone_leaves_a_new_one(talk: Talk, watch: Watch) -> None:
    watch.allowed = ("Failed to load resource: the server responded with a status of 404",)
    talk.page.goto(f"{talk.site.url}/#/c/sess_{'0' * 32}")
    expect(talk.page.locator("#hint")).to_have_text("That conversation is no longer kept.")
    expect(talk.page.locator("#welcome")).to_be_visible()


def test_examples_fit_the_tools_that_are_offered(talk: Talk) -> None:
    titles = talk.page.locator(".prompt small")
    expect(titles).to_have_text(["Read", "Find", "Cut out", "Change", "Replace", "Map"])
    talk.page.route("**/v1/tools", lambda route: route.fulfill(json={"object": "list", "data": []}))
    talk.page.reload()
    talk.page.wait_for_selector("body[data-ready]")
    expect(talk.page.locator("#prompts")).to_be_hidden()


@pytest.mark.parametrize(
    ("known", "titles"),
    [
        ({"easyocr": "described", "openseed": "described"}, ["Read", "Map"]),
        ({"easyocr": "described", "openseed": "learned"}, ["Map"]),
    ],
)
def test_examples_fit_what_the_planner_can_use(talk: Talk, known: dict[str, str], titles: list[str]) -> None:
    def as_known(route: Any) -> None:
        body = route.fetch().json()
        for tool in body["data"]:
            tool["planner"] = known.get(tool["name"], "none")
        route.fulfill(json=body)

    talk.page.route("**/v1/tools", as_known)
    talk.page.reload()
    expect(talk.page.locator(".prompt small")).to_have_text(titles)


def test_an_example_brings_its_picture_and_marks(talk: Talk) -> None:
    talk.page.click(".prompt:has-text('Cut out')")
    expect(talk.page.locator("#attached")).to_contain_text("1 box")
    turn = talk.send()
    assert talk.parts["boxes"]["boxes"] == [[0.24, 0.46, 0.44, 0.67]]
    expect(turn.locator(".chip")).to_have_text("Mask 191%")


def _ground(talk: Talk) -> tuple[int, ...]:
    words = talk.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return tuple(int(part) for part in words.removeprefix("rgb(").removesuffix(")").split(","))


@pytest.mark.parametrize("talk", [{"color_scheme": "dark"}], indirect=True)
def test_colours_follow_the_system_until_they_are_chosen(talk: Talk) -> None:
    assert close(_ground(talk), (18, 18, 21), 4)
    talk.page.click("#theme")
    assert close(_ground(talk), (247, 247, 245), 4)
    talk.page.reload()
    assert close(_ground(talk), (247, 247, 245), 4)
    talk.page.click("#theme")
    assert close(_ground(talk), (18, 18, 21), 4)
    talk.page.click("#theme")
    talk.page.emulate_media(color_scheme="light")
    assert close(_ground(talk), (247, 247, 245), 4)


def test_nothing_moves_for_those_who_want_it_so(talk: Talk) -> None:
    talk.page.emulate_media(reduced_motion="reduce")
    talk.page.fill("#question", "hang")
    talk.page.keyboard.press("Enter")
    moving = "getComputedStyle(document.querySelector('.pulse') ?? document.body).animationName"
    assert talk.page.evaluate(moving) == "none"
    talk.page.keyboard.press("Escape")


def test_keys_are_listed_and_the_list_closes(talk: Talk) -> None:
    talk.page.keyboard.press("Control+/")
    expect(talk.page.locator("#help")).to_be_visible()
    talk.page.locator("#help").get_by_role("button", name="Close").click()
    expect(talk.page.locator("#help")).to_be_hidden()


def _tool(talk: Talk, name: str) -> Any:
    talk.page.click("#to-tools")
    talk.page.click(f"[data-tool='{name}'].tool")
    expect(talk.page.locator("#tool h2")).to_have_text(name)
    return talk.page.locator("#tool")


def test_a_tool_is_called_through_the_form_of_its_schema(talk: Talk) -> None:
    tool = _tool(talk, "grounding_dino")
    tool.get_by_role("button", name="Run").click()
    expect(tool.get_by_role("alert")).to_contain_text("Choose: Picture.")
    tool.locator("input[type=file]").set_input_files(MEADOW)
    expect(tool.locator(".picture-field img")).to_be_visible()
    tool.get_by_role("button", name="Run").click()
    expect(tool.get_by_role("alert")).to_be_visible()
    expect(tool.locator("#field-caption")).to_be_focused()
    tool.locator("#field-caption").fill("pig . koala")
    tool.locator("#field-box_threshold").fill("2")
    tool.get_by_role("button", name="Run").click()
    expect(tool.locator("#field-box_threshold")).to_be_focused()
    tool.locator("#field-box_threshold").fill("0.4")
    with talk.page.expect_request("**/v1/tools/grounding_dino") as asked:
        tool.get_by_role("button", name="Run").click()
    assert json.loads(asked.value.post_data)["arguments"] == {"caption": "pig . koala", "box_threshold": 0.4}
    expect(tool.locator(".chip")).to_have_text(["pig93%", "koala88%"])
    tool.locator("summary").click()
    expect(tool.locator("pre")).to_contain_text('"phrases"')


def test_boxes_of_a_tool_are_drawn_on_its_picture(talk: Talk) -> None:
    tool = _tool(talk, "sam")
    tool.locator("input[type=file]").set_input_files(MEADOW)
    tool.get_by_role("button", name="Mark").click()
    talk.page.locator(".pad").wait_for()
    talk.tool("box")
    talk.drag((0.2, 0.4), (0.5, 0.7))
    talk.done()
    tool.get_by_role("button", name="Run").click()
    expect(tool.locator(".chip")).to_have_text("Mask 191%")


def test_a_mask_for_a_tool_is_painted_over_its_picture(talk: Talk) -> None:
    tool = _tool(talk, "inpainting")
    tool.locator("input[type=file]").first.set_input_files(MEADOW)
    expect(tool.locator(".picture-field img")).to_be_visible()
    tool.get_by_role("button", name="Paint").click()
    talk.page.locator(".pad").wait_for()
    talk.drag((0.3, 0.5), (0.5, 0.5))
    talk.done()
    tool.locator("#field-prompt").fill("a red ball")
    tool.get_by_role("button", name="Run").click()
    expect(tool.locator(".divide")).to_be_visible()


def test_a_tool_s_error_is_shown_with_its_request(talk: Talk, watch: Watch) -> None:
    watch.allowed = ("Failed to load resource: the server responded with a status of 500",)
    tool = _tool(talk, "instruct_pix2pix")
    tool.locator("input[type=file]").set_input_files(MEADOW)
    expect(tool.locator(".picture-field img")).to_be_visible()
    tool.locator("#field-prompt").fill("explode")
    tool.get_by_role("button", name="Run").click()
    expect(tool.get_by_role("alert")).to_contain_text("The skill failed on this input")
    expect(tool.get_by_role("alert")).to_contain_text("Request id: req_")
