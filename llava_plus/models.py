"""What the server answers, typed. Fields that a newer server adds are kept and not lost.

Coordinates are xyxy, normalised to 0..1 of the picture's width and height, origin at the top left. Times are seconds
since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from llava_plus.masks import mask_array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HANDLE = re.compile(r"img_[0-9a-f]{40}", re.ASCII)
_LABELS = ("phrases", "texts", "labels")
_SCORES = ("logits", "scores", "iou")


class Model(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Box(NamedTuple):
    """A box, normalised to 0..1."""

    x0: float
    y0: float
    x1: float
    y1: float

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The box in a picture of that size, as PIL's `crop` takes it."""
        return round(self.x0 * width), round(self.y0 * height), round(self.x1 * width), round(self.y1 * height)


class MaskRLE(Model):
    """A mask as COCO's compressed run-length code; `size` is [height, width] in pixels."""

    size: tuple[int, int]
    counts: str

    def to_array(self) -> NDArray[np.bool_]:
        """A boolean array of [height, width]; takes numpy.

        Raises:
            BadMask: the code is damaged.
        """
        return mask_array(self.counts, *self.size)


class ImageInfo(Model):
    """A stored picture; every use renews `expires`."""

    id: str
    width: int
    height: int
    media_type: str
    bytes: int
    created: float
    expires: float


class ImageDetails(ImageInfo):
    """With its owner, how long it lives without being used, and the call that made it (None for uploads)."""

    owner: str
    ttl_s: float
    lineage: dict[str, Any] | None = None


class Tool(Model):
    """A skill as data; `arguments` and `result` are JSON schemas, `produces` is by result field.

    `planner` says how the planner knows it: "learned" (trained to use it), "described" (told of it), "none".
    """

    name: str
    aliases: list[str] = Field(default_factory=list)
    summary: str = ""
    description: str = ""
    consumes: list[str] = Field(default_factory=list)
    produces: dict[str, str] = Field(default_factory=dict)
    parts: list[str] = Field(default_factory=list)
    version: str = "1"
    arguments: dict[str, Any] = Field(default_factory=dict)
    result: dict[str, Any] = Field(default_factory=dict)
    planner: str = "described"


class Timing(Model):
    """Milliseconds: in the model, queued before it, and in all; and how many calls shared the batch."""

    compute_ms: float
    wait_ms: float
    total_ms: float
    batch_size: int


class Found(Model):
    """A skill's result with what results have in common; `result` itself is as the skill gives it."""

    result: dict[str, Any] | None = None

    @property
    def boxes(self) -> list[Box]:
        """Of what was found, in the result's order."""
        return [Box(*box) for box in self._list("boxes")]

    @property
    def labels(self) -> list[str]:
        """What the boxes or masks are called: phrases, lines of text or class names."""
        named = self._first_list(_LABELS)
        return [str(one.get("name", "")) if isinstance(one, Mapping) else str(one) for one in named]

    @property
    def scores(self) -> list[float]:
        """How sure the skill is of each."""
        return [float(score) for score in self._first_list(_SCORES)]

    @property
    def masks_rle(self) -> list[MaskRLE]:
        """The masks as they came."""
        single = (self.result or {}).get("mask_rle")
        return [MaskRLE.model_validate(one) for one in self._list("masks_rle") or ([single] if single else [])]

    def masks(self) -> list[NDArray[np.bool_]]:
        """The masks as boolean arrays of [height, width], decoded now; takes numpy.

        Raises:
            BadMask: a code is damaged.
        """
        return [mask.to_array() for mask in self.masks_rle]

    @property
    def pictures(self) -> dict[str, str]:
        """Handles of the pictures that the skill made, by result field."""
        return {
            name: value
            for name, value in (self.result or {}).items()
            if isinstance(value, str) and _HANDLE.fullmatch(value)
        }

    def _first_list(self, names: Sequence[str]) -> Sequence[Any]:
        return next((found for name in names if (found := self._list(name))), [])

    def _list(self, name: str) -> Sequence[Any]:
        found = (self.result or {}).get(name)
        return found if isinstance(found, list) else []


class AnswerPicture(Model):
    """A picture that was made for an answer: its handle, where its bytes are, its size in pixels."""

    id: str
    url: str
    media_type: str
    width: int
    height: int


class ToolResult(Found):
    """A tool's answer. `images` are the handles that it worked on, by what they were for.

    `render` is the picture with what was found drawn over it, where it was asked for and there is something to draw.
    """

    tool: str
    images: dict[str, str] = Field(default_factory=dict)
    checkpoint: str = ""
    cached: bool = False
    timing: Timing | None = None
    render: AnswerPicture | None = None
    request_id: str | None = None


class StepCall(Found):
    """A skill call of a turn: its result, or the error that the planner was told."""

    id: str = ""
    skill: str
    args: dict[str, Any] = Field(default_factory=dict)
    images: dict[str, str] = Field(default_factory=dict)
    elapsed_ms: float = 0.0
    cached: bool = False
    error: dict[str, Any] | None = None


class Step(Model):
    """One planner call and the skill calls that it asked for; `kind` is `all_tools` for calls made before it."""

    kind: str = "plan"
    thoughts: str = ""
    actions: list[dict[str, Any]] = Field(default_factory=list)
    value: str = ""
    results: list[StepCall] = Field(default_factory=list)
    planner_ms: float = 0.0
    skills_ms: float = 0.0


class Usage(Model):
    """Tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Answer(Model):
    """A whole answer of the planner.

    Attributes:
        session_id: by which the next question goes on.
        images: handles of the pictures that came with the question.
        produced_images: handles of the pictures that skills made for the answer.
        cached: skills whose results came from the cache.
        steps: thoughts, actions, results and timings; None unless `debug` was asked for.
        repeated: it was given before, to the same message with the same `idempotency_key`.
    """

    id: str
    model: str
    created: int
    text: str
    finish_reason: str
    session_id: str
    images: list[str]
    produced_images: list[str]
    cached: list[str]
    usage: Usage | None = None
    steps: list[Step] | None = None
    request_id: str | None = None
    repeated: bool = False


class SessionSummary(Model):
    """A conversation in a list; `title` is its first question that is kept."""

    id: str
    owner: str
    created: float
    last_used: float
    expires: float
    ttl_s: float
    title: str
    turns: int
    images: int


class SessionPage(Model):
    """A page of conversations, the last used first; the next is after the last one's id."""

    data: list[SessionSummary]
    has_more: bool


class TurnMarks(Model):
    """What was marked in the current picture, normalised, and handles of the mask and the reference that were given."""

    points: list[list[float]] = Field(default_factory=list)
    point_labels: list[int] = Field(default_factory=list)
    boxes: list[list[float]] = Field(default_factory=list)
    mask: str | None = None
    reference_image: str | None = None
    reference_mask: str | None = None


class SessionTurn(Model):
    """A question and its answer; `steps` only with `debug`."""

    question: str
    images: list[str]
    image_names: list[str | None] = Field(default_factory=list)
    marks: TurnMarks = Field(default_factory=TurnMarks)
    mode: str = "fly"
    answer: str
    produced_images: list[str]
    created: float
    request_id: str
    steps: list[Step] | None = None


class Session(Model):
    """A conversation with the handles of all its pictures; it lives for `ttl_s` seconds without being used."""

    id: str
    owner: str
    created: float
    expires: float
    ttl_s: float
    images: list[str]
    turns: list[SessionTurn]


class Replay(Session):
    """A new session with the questions of `replay_of`; `same_answers` says for each turn whether it is equal."""

    replay_of: str
    same_answers: list[bool]


class Readiness(Model):
    """Whether requests would be answered now, and which part is not ready; `state` is the store."""

    ready: bool
    planner: bool
    state: bool
    skills: dict[str, bool]


class JobProgress(Model):
    """How far a job has come: `step` of `steps`, where that can be told, and what it is at."""

    step: int | None = None
    steps: int | None = None
    message: str | None = None


class Job(Model):
    """A tool call or a chat that runs by itself; `error` is what a failed one would have answered."""

    id: str
    type: str
    tool: str | None = None
    status: str
    created: float
    started: float | None = None
    finished: float | None = None
    elapsed_s: float = 0.0
    progress: JobProgress = JobProgress()
    cancel_requested: bool = False
    error: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Succeeded, failed or cancelled."""
        return self.status not in ("queued", "running")


class JobPage(Model):
    """A page of jobs, the newest first; the next is after the last one's id."""

    data: list[Job]
    has_more: bool
