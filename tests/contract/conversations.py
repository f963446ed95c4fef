"""Five conversations that every client must be able to have, and the small world that they are had in.

The world's skills really look at the pictures, so that an answer is right only if the right picture, the right marks
and the right session arrived: a sign that says SALE, and a red box on white. The planner follows simple words.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from gateway_fakes import Reader
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.ports import ImageStore, SkillOutcome
from planner.api import PlannerDelta, PlannerDone, PlanRequest
from planner.conversation import Observation, ObservationTurn, UserTurn
from planner.format import Action, PlannerOutput
from services.core.context import CallContext
from services.core.images import encode
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE
from tests.orchestration_fakes import Cut, Edit, Find, Skills

SIZE = (60, 40)
BOX = (0.25, 0.25, 0.5, 0.75)
BOX_PIXELS = (15, 10, 30, 30)
COLOURS: Mapping[str, tuple[int, int, int]] = {"red": (220, 20, 20), "blue": (20, 20, 220)}
POST = "New in blue: our box! #freshpaint"


def scene() -> bytes:
    """A red box on white."""
    picture = Image.new("RGB", SIZE, "white")
    picture.paste(COLOURS["red"], BOX_PIXELS)
    return encode(picture)


def sign() -> bytes:
    """A picture with a text, which the reader finds in the file."""
    said = PngInfo()
    said.add_text("says", "SALE")
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, "yellow").save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()


@dataclass(frozen=True)
class Said:
    """An answer as a client got it; `pictures` are the files that came with it."""

    text: str
    session: str
    pictures: Sequence[bytes] = ()


class Way(Protocol):
    """A client of the platform."""

    def upload(self, data: bytes) -> str:
        """Store a picture; its handle."""
        ...

    def ask(
        self,
        text: str,
        pictures: Sequence[bytes | str] = (),
        boxes: Sequence[tuple[float, float, float, float]] = (),
        session: str | None = None,
    ) -> Said:
        """Ask about pictures (files or handles), with boxes marked in the last one."""
        ...


def text_is_read(way: Way) -> None:
    assert way.ask("What does the sign say?", [sign()]).text == "It says SALE."


def things_are_found(way: Way) -> None:
    assert way.ask("Find the red box.", [scene()]).text == "1 thing(s): 0.25 0.25 0.5 0.75."
    assert way.ask("Find the blue box.", [scene()]).text == "0 thing(s)."


def what_a_drawn_box_marks_is_cut_out(way: Way) -> None:
    assert way.ask("Cut out what I marked.", [scene()], [BOX]).text == "The mask covers 300 pixels."


def a_picture_is_edited_and_a_post_written(way: Way) -> None:
    said = way.ask("Make it blue and write a post.", [way.upload(scene())])
    assert said.text == POST
    (edited,) = said.pictures
    pixels = decoded(edited)
    assert tuple(pixels[20, 20]) == COLOURS["blue"]
    assert tuple(pixels[0, 0]) == (255, 255, 255)


def the_next_question_is_about_the_last_picture(way: Way) -> None:
    first = way.ask("Make it blue and write a post.", [scene()])
    second = way.ask("Find the blue box.", session=first.session)
    third = way.ask("Find the red box.", session=first.session)
    assert first.session == second.session == third.session
    assert second.text == "1 thing(s): 0.25 0.25 0.5 0.75."
    assert third.text == "0 thing(s)."


CONVERSATIONS: Sequence[Callable[[Way], None]] = (
    text_is_read,
    things_are_found,
    what_a_drawn_box_marks_is_cut_out,
    a_picture_is_edited_and_a_post_written,
    the_next_question_is_about_the_last_picture,
)


@dataclass
class SeeingSkills(Skills):
    """`reader`, `find`, `cut` and `edit`, by the pixels of the stored pictures."""

    store: ImageStore | None = None
    offered: Sequence[SkillSpec] = field(default_factory=lambda: [one.spec() for one in (Cut, Edit, Find, Reader)])

    def with_store(self, store: ImageStore) -> SeeingSkills:
        self.store = store
        return self

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        assert self.store is not None
        stored = await self.store.get(images[Symbol.IMAGE], owner=context.owner)
        pixels, pictures = decoded(stored.data), dict[str, str]()
        size = {"width": SIZE[0], "height": SIZE[1]}
        if skill == "reader":
            result: dict[str, Any] = {"texts": [Image.open(io.BytesIO(stored.data)).info["says"]]}
        elif skill == "find":
            boxes = _boxes(pixels, args["caption"])
            result = {"boxes": boxes, "phrases": [args["caption"]] * len(boxes), "size": size}
        elif skill == "cut":
            result = {"masks_rle": [_filled(box) for box in args["boxes"]], "size": size}
        else:
            edited = np.where(_painted(pixels)[..., None], np.uint8(COLOURS[args["prompt"]]), pixels)
            info = await self.store.put(encode(Image.fromarray(edited)), owner=context.owner)
            pictures, result = {"edited_image": info.id}, {"edited_image": info.id, "size": size}
        return SkillOutcome(skill, result, "eyes", compute_ms=1.0, wait_ms=0.0, pictures=pictures)


class WordPlanner:
    """Chooses a skill by a word of the question, and says what came of it."""

    model = "word-planner"

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        last = request.conversation[-1]
        if isinstance(last, UserTurn):
            action = _action(last.text)
            yield PlannerDone(PlannerOutput(thoughts=f"I need {action.API_name}.", actions=(action,)), 10, 5)
            return
        assert isinstance(last, ObservationTurn)
        answer = _told(last.observations[0])
        for piece in answer.partition(" "):
            yield PlannerDelta(piece)
        yield PlannerDone(PlannerOutput(thoughts="I can answer.", value=answer), 10, 5)

    async def ready(self) -> bool:
        return True


def _action(question: str) -> Action:
    asked = question.lower()
    colour = next((name for name in COLOURS if name in asked), "")
    if "say" in asked:
        return Action(API_name="reader", API_params={})
    if "find" in asked:
        return Action(API_name="find", API_params={"caption": colour})
    if "cut" in asked:
        return Action(API_name="cut", API_params={"boxes": "$user.boxes"})
    return Action(API_name="edit", API_params={"prompt": colour})


def _told(observation: Observation) -> str:
    found = observation.content
    if observation.skill == "reader":
        return f"It says {found['texts'][0]}."
    if observation.skill == "find":
        where = "".join(f": {' '.join(str(side) for side in box)}" for box in found["boxes"])
        return f"{len(found['boxes'])} thing(s){where}."
    if observation.skill == "cut":
        covered = sum(int(MaskRLE.model_validate(mask).to_array().sum()) for mask in found["masks_rle"])
        return f"The mask covers {covered} pixels."
    return POST


def decoded(data: bytes) -> NDArray[np.uint8]:
    """A file as [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _painted(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((pixels != 255).any(axis=2))


def _boxes(pixels: NDArray[np.uint8], colour: str) -> list[list[float]]:
    rows, columns = np.nonzero((pixels == COLOURS[colour]).all(axis=2))
    if not len(rows):
        return []
    width, height = SIZE
    sides = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
    return [[float(side) for side in sides]]


def _filled(box: Sequence[float]) -> dict[str, Any]:
    inside = np.zeros(SIZE[::-1], bool)
    x0, y0, x1, y1 = (round(side * length) for side, length in zip(box, SIZE * 2, strict=True))
    inside[y0:y1, x0:x1] = True
    return MaskRLE.from_array(inside).model_dump(mode="json")
