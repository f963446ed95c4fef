"""Answers that are on their way while the person looks at another conversation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import expect

from planner.api import PlannerUnavailable
from tests.web.actions import MEADOW, POSTER, Talk
from tests.web.conftest import Watch
from tests.web.site import Site


@dataclass
class Gate:
    """The planner begins no answer before it is set."""

    opened: threading.Event = field(default_factory=threading.Event)
    come: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released once for every question that has come to the planner."""
    left: threading.Event = field(default_factory=threading.Event)
    """The gateway has stopped an answer that waited here."""

    def set(self) -> None:
        self.opened.set()

    def clear(self) -> None:
        self.opened.clear()

    async def wait(self) -> None:
        self.come.release()
        try:
            await asyncio.to_thread(self.opened.wait, 60)
        except asyncio.CancelledError:
            self.left.set()
            raise


@pytest.fixture
def may(site: Site) -> Iterator[Gate]:
    gate = Gate()
    site.planner.before = gate.wait
    yield gate
    gate.set()


def send(talk: Talk, text: str) -> None:
    """Send a question, and do not wait for its answer."""
    talk.page.fill("#question", text)
    talk.page.press("#question", "Enter")
    expect(talk.page.locator("#stop")).to_be_visible()


def test_an_answer_goes_on_while_another_conversation_is_shown(talk: Talk, may: Gate) -> None:
    page = talk.page
    may.set()
    talk.ask("Make it winter", MEADOW)
    may.clear()
    send(talk, "What does it say now?")
    page.click("#new-chat")
    row = page.locator("#sessions li").first
    expect(row.locator("small")).to_contain_text("being answered")
    expect(page.locator("#send")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)
    may.set()
    expect(row.locator("small")).to_contain_text("2 questions")
    expect(row.locator("small")).not_to_contain_text("being answered")
    row.locator(".open").click()
    expect(talk.answered(2).locator(".answer")).to_contain_text("Summer Book Fair")


def test_a_new_conversation_is_found_again_before_its_first_answer(talk: Talk, may: Gate) -> None:
    page = talk.page
    talk.attach(POSTER)
    send(talk, "What does this poster say?")
    page.click("#new-chat")
    row = page.locator("#sessions li")
    expect(row.locator(".title")).to_have_text("What does this poster say?")
    expect(row.locator("small")).to_have_text("being answered")
    row.locator(".open").click()
    expect(row).to_have_count(0)
    expect(page.locator(".turn .pulse")).to_be_visible()
    expect(page.locator("#stop")).to_be_visible()
    may.set()
    expect(talk.answered(1).locator(".answer")).to_contain_text("Summer Book Fair")
    expect(page.locator("#sessions li")).to_have_count(1)
    assert "#/c/sess_" in page.url


def test_two_conversations_are_answered_at_once_and_stop_ends_only_the_one_that_is_shown(
    talk: Talk, site: Site, may: Gate
) -> None:
    page = talk.page
    talk.attach(POSTER)
    send(talk, "What does this poster say?")
    page.click("#new-chat")
    send(talk, "Hello there")
    assert all(may.come.acquire(timeout=15) for _ in range(2))
    page.click("#stop")
    expect(page.locator(".turn")).to_contain_text("Stopped.")
    assert may.left.wait(15)
    may.set()
    expect(page.locator("#sessions small")).to_contain_text("1 question")
    page.locator("#sessions .open").click()
    expect(talk.answered(1).locator(".answer")).to_contain_text("Summer Book Fair")


def test_an_answer_that_fails_meanwhile_is_kept_for_another_try(
    talk: Talk, site: Site, may: Gate, watch: Watch
) -> None:
    watch.allowed = ("Failed to load resource: the server responded with a status of 503",)
    page = talk.page

    async def fail() -> None:
        await may.wait()
        raise PlannerUnavailable("The planner is starting.", retry_after_s=3)

    site.planner.before = fail
    send(talk, "Hello there")
    page.click("#new-chat")
    may.set()
    row = page.locator("#sessions li")
    expect(row.locator("small")).to_have_text("not answered")
    row.locator(".open").click()
    expect(page.locator(".turn").get_by_role("alert")).to_contain_text("The planner is starting.")
    site.planner.before = None
    page.get_by_role("button", name="Try again").click()
    expect(talk.answered(1).locator(".answer")).to_contain_text("You asked: Hello there")
