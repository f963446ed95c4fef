"""The page on every width, and what axe-core says of its accessibility."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.contract.node_packages import installed
from tests.web.actions import MEADOW, POSTER, Talk

AXE = "4.14.1"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
NARROW = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
WIDER = """() => [...document.querySelectorAll("body *")]
  .filter((node) => node.checkVisibility() && !node.closest("#tools > nav, .unseen, .side"))
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
  .map((node) => node.outerHTML.slice(0, 120))"""
FITS = "document.documentElement.scrollWidth <= innerWidth && visualViewport.scale === 1"


def _look_everywhere(talk: Talk, check: Callable[[str], None]) -> None:
    """Call `check` in each of the page's states."""
    page = talk.page
    page.wait_for_selector(".prompt")
    check("welcome")
    page.click("#plan-switch")
    talk.ask("Find and cut the animals.", MEADOW)
    check("findings and plan")
    talk.ask("What does this poster say?", POSTER)
    page.locator("summary", has_text="lines of text").click()
    talk.ask("Make it winter")
    check("text, slider and plan")
    talk.attach(MEADOW)
    talk.mark()
    talk.tool("brush")
    check("marking")
    talk.done()
    page.click("#to-tools")
    page.click("[data-tool='sam'].tool")
    expect(page.locator("#tool h2")).to_have_text("sam")
    check("tool")


@pytest.mark.parametrize("talk", [PHONE, NARROW], ids=["390", "320"], indirect=True)
def test_nothing_is_wider_than_a_phone(talk: Talk) -> None:
    def check(state: str) -> None:
        assert talk.page.evaluate(FITS), state
        assert talk.page.evaluate(WIDER) == [], state

    _look_everywhere(talk, check)


@pytest.mark.parametrize("talk", [PHONE], indirect=True)
def test_on_a_phone_past_conversations_are_a_drawer(talk: Talk) -> None:
    talk.ask("Hello there")
    expect(talk.page.locator("#new-chat")).to_be_hidden()
    talk.page.click("#menu")
    expect(talk.page.locator("#sessions .title")).to_have_text("Hello there")
    expect(talk.page.locator("#new-chat")).to_be_focused()
    talk.page.keyboard.press("Escape")
    expect(talk.page.locator("#new-chat")).to_be_hidden()
    expect(talk.page.locator("#menu")).to_be_focused()


@pytest.mark.parametrize("talk", [PHONE], indirect=True)
def test_what_a_finger_meets_is_large_enough(talk: Talk) -> None:
    talk.ask("Find the pig and the koala.", MEADOW)
    small = talk.page.evaluate(
        """() => [...document.querySelectorAll("button, a, select, textarea, input:not(.unseen)")]
          .filter((node) => node.checkVisibility() && !node.classList.contains("skip"))
          .map((node) => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
          .filter(([, { width, height }]) => width < 24 || height < 24)"""
    )
    assert small == []


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script."""
    return str(installed("axe-core", AXE) / "node_modules" / "axe-core" / "axe.min.js")


LOOKS: Mapping[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": PHONE,
}


@pytest.mark.parametrize("talk", list(LOOKS.values()), ids=list(LOOKS), indirect=True)
def test_axe_finds_nothing_serious(talk: Talk, axe: str) -> None:
    talk.page.add_init_script(path=axe)
    talk.page.reload()
    found: list[str] = []

    def check(state: str) -> None:
        answer = talk.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        for violation in answer["violations"]:
            if violation["impact"] in ("serious", "critical"):
                nodes = [f"{node['html'][:160]} {node['failureSummary'][:200]}" for node in violation["nodes"][:3]]
                found.append(f"{state}: {violation['id']}: {nodes}")

    _look_everywhere(talk, check)
    assert found == []
