"""What a person does on the page, and what they see, in a test's words."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.web.site import Site

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MEADOW = EXAMPLES / "meadow.webp"
POSTER = EXAMPLES / "poster.png"
PASTE = """([name, type, data, how]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], name, { type }));
  const made = how === "paste"
    ? new ClipboardEvent("paste", { clipboardData: given, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true });
  document.getElementById("conversation").dispatchEvent(made);
}"""
ANSWERED = """(count) => {
  const turns = document.querySelectorAll(".turn");
  return turns.length === count && !turns[count - 1].querySelector(".pulse") && document.getElementById("stop").hidden;
}"""


@dataclass
class Talk:
    """A person at the page."""

    page: Any
    site: Site
    sent: list[dict[str, Any]] = field(default_factory=list)

    def open(self, path: str = "/") -> None:
        self.page.goto(self.site.url + path)
        self.page.wait_for_selector("body[data-ready]")
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if request.url.endswith("/v1/chat/completions"):
            self.sent.append(json.loads(request.post_data))

    def attach(self, picture: Path = MEADOW) -> None:
        shown = self.page.locator("#attached li img").count()
        self.page.set_input_files("#file", picture)
        self.page.locator("#attached li img").nth(shown).wait_for()

    def give(self, picture: Path, how: str) -> None:
        """Paste a picture, or drop it."""
        data = base64.b64encode(picture.read_bytes()).decode()
        kind = "image/png" if picture.suffix == ".png" else "image/webp"
        self.page.evaluate(PASTE, [picture.name, kind, data, how])

    def ask(self, text: str, picture: Path | None = None) -> Any:
        """Send a question and wait for the whole answer; gives its turn."""
        if picture is not None:
            self.attach(picture)
        self.page.fill("#question", text)
        return self.send()

    def send(self) -> Any:
        count = self.page.locator(".turn").count() + 1
        self.page.press("#question", "Enter")
        return self.answered(count)

    def answered(self, count: int) -> Any:
        self.page.wait_for_function(ANSWERED, arg=count)
        return self.page.locator(".turn").nth(count - 1)

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """The parts of the last message that was sent, by type."""
        return {part["type"]: part for part in self.sent[-1]["messages"][-1]["content"]}

    def mark(self) -> Any:
        """Open the editor on the picture of the question; gives the pad to draw on."""
        self.page.click("#draw")
        pad = self.page.locator(".pad")
        pad.wait_for()
        return pad

    def tool(self, name: str) -> None:
        self.page.click(f"#editor [data-tool={name}]")

    def done(self) -> None:
        self.page.click("#editor-done")
        self.page.locator("#editor").wait_for(state="hidden")

    def place(self, x: float, y: float, within: str = ".pad") -> tuple[float, float]:
        return place(self.page, x, y, within)

    def drag(self, *places: tuple[float, float]) -> None:
        drag(self.page, *places)

    def drag_slider(self, turn: Any) -> None:
        """Pull the divider of before and after from the middle to the left with the mouse."""
        box = turn.locator(".frame").bounding_box()
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] / 2, middle)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=5)
        self.page.mouse.up()

    def pixels(self, selector: str) -> Image.Image:
        """An element as it is on the screen."""
        return Image.open(io.BytesIO(self.page.locator(selector).last.screenshot(animations="disabled"))).convert("RGB")


def place(page: Any, x: float, y: float, within: str = ".pad") -> tuple[float, float]:
    """Pixels in the window of a place (0..1) in an element."""
    box = page.locator(within).last.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page: Any, *places: tuple[float, float]) -> None:
    """Move the pressed mouse over places (0..1) of the picture that is marked."""
    first, *rest = [place(page, *one) for one in places]
    page.mouse.move(*first)
    page.mouse.down()
    for one in rest:
        page.mouse.move(*one, steps=4)
    page.mouse.up()


def at(picture: Image.Image, x: float, y: float) -> tuple[int, int, int]:
    """The colour at a place (0..1)."""
    colour = picture.getpixel(
        (min(int(x * picture.width), picture.width - 1), min(int(y * picture.height), picture.height - 1))
    )
    assert isinstance(colour, tuple)
    return colour[0], colour[1], colour[2]


def close(one: tuple[int, ...], other: tuple[int, ...], by: int = 40) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))
