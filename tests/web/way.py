"""The page as a way to have the conversations of `tests.contract.conversations`: what a person does, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.conversations import Said, Way
from tests.web.actions import ANSWERED, drag
from tests.web.chromium import WAIT_MS, chromium

Box = tuple[float, float, float, float]
ANSWER_MS = 120_000.0


class PageWay:
    """A person at the page."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def upload(self, data: bytes) -> str:
        """Add a picture to the question that is being written."""
        shown = self._page.locator("#attached li img").count()
        self._page.set_input_files("#file", {"name": "picture.png", "mimeType": "image/png", "buffer": data})
        self._page.locator("#attached li img").nth(shown).wait_for()
        return str(self._page.evaluate("JSON.parse(localStorage['llava-plus.draft']).pictures.at(-1).id"))

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        if session is None:
            self._page.click("#new-chat")
        else:
            assert self._page.url.endswith(f"#/c/{session}")
        for one in pictures:
            if isinstance(one, bytes):
                self.upload(one)
        self._draw(boxes)
        count = self._page.locator(".turn").count() + 1
        self._page.fill("#question", text)
        self._page.press("#question", "Enter")
        self._page.wait_for_function(ANSWERED, arg=count, timeout=ANSWER_MS)
        turn = self._page.locator(".turn").nth(count - 1)
        made = [self._downloaded(turn)] if turn.locator(".compare").count() else []
        return Said(turn.locator(".answer").text_content(), self._page.url.rpartition("/")[2], made)

    def _draw(self, boxes: Sequence[Box]) -> None:
        if not boxes:
            return
        self._page.click("#draw")
        self._page.locator(".pad").wait_for()
        self._page.click("#editor [data-tool=box]")
        for x0, y0, x1, y1 in boxes:
            drag(self._page, (x0, y0), (x1, y1))
        self._page.click("#editor-done")
        self._page.locator("#editor").wait_for(state="hidden")

    def _downloaded(self, turn: Any) -> bytes:
        with self._page.expect_download() as download:
            turn.get_by_role("link", name="Download the picture").click()
        return Path(download.value.path()).read_bytes()


@contextmanager
def page_way(url: str, _: str) -> Iterator[Way]:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
        yield PageWay(page)
