"""Questions to the planner: the request, the whole answer, and the answer as it comes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import httpx

from llava_plus.answers import read
from llava_plus.errors import UnexpectedAnswer, stream_error
from llava_plus.event_stream import EventDecoder
from llava_plus.flow import Flow, Send
from llava_plus.models import Answer, Step
from llava_plus.pictures import MaskLike, Named, PictureLike, Reference, mask_reference, picture_reference
from llava_plus.retries import Retries, answered

REPLAYED = "idempotent-replayed"


class Options(TypedDict, total=False):
    """What may go with a question.

    Attributes:
        points: [x, y] in the current picture, normalised; point_labels: 1 on the object (default), 0 beside it.
        boxes: [x0, y0, x1, y1] in it.
        mask: drawn over it.
        reference: another picture with a mask over what is meant in it.
        session: continue this conversation.
        instructions: a system message, for the first question of a conversation.
        mode: "fly" (the planner calls what it wants) or "all_tools" (all understanding skills run first).
        debug: return the steps too.
        max_tokens, temperature, top_p, seed: of the planner.
        idempotency_key: a message sent again with it gets the first answer; one is made when absent.
        timeout_s: longest wait for the answer, or for its next piece, instead of the client's, seconds.
    """

    points: Sequence[Sequence[float]]
    point_labels: Sequence[Literal[0, 1]]
    boxes: Sequence[Sequence[float]]
    mask: MaskLike
    reference: Reference | tuple[PictureLike, MaskLike]
    session: str | None
    instructions: str
    mode: Literal["fly", "all_tools"]
    debug: bool
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    idempotency_key: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end, with everything."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Progress:
    """What happens while the answer is awaited, with `debug`.

    Attributes:
        kind: "planned" (`skills` were asked for), "started" or "finished" (one of them).
        details: of a finished call `cached`, `failed` and `elapsed_ms`.
    """

    kind: str
    skills: Sequence[str]
    details: Mapping[str, Any]


Event = Delta | Progress | Step | Finished
"""What a stream gives: pieces of the answer, with `debug` progress and the steps, and at last the whole."""

_PASSED_ON = ("mode", "debug", "max_tokens", "temperature", "top_p", "seed")


def question_body(
    text: str, pictures: Sequence[PictureLike | Named], options: Options, retries: Retries
) -> Flow[dict[str, Any]]:
    """The request's body; pictures that the server has not are uploaded.

    Raises:
        PictureError, ServerUnreachable, ApiError.
    """
    parts = yield from _parts(text, pictures, options, retries)
    messages: list[dict[str, Any]] = [{"role": "user", "content": parts}]
    if instructions := options.get("instructions"):
        messages.insert(0, {"role": "system", "content": instructions})
    given: Mapping[str, object] = options
    body: dict[str, Any] = {name: given[name] for name in _PASSED_ON if name in given}
    body |= {"messages": messages}
    if session := options.get("session"):
        body["session_id"] = session
    return body


def own_key(options: Options) -> dict[str, str]:
    """The header by which a message that is sent twice is run once."""
    return {"Idempotency-Key": options.get("idempotency_key") or uuid.uuid4().hex}


def ask(
    text: str, pictures: Sequence[PictureLike | Named], options: Options, retries: Retries, *, stream: bool
) -> Flow[httpx.Response]:
    """Send a question.

    Raises:
        PictureError, ServerUnreachable, ApiError.
    """
    body = yield from question_body(text, pictures, options, retries)
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    send = Send(
        "POST",
        "/v1/chat/completions",
        json=body,
        headers=own_key(options),
        repeatable=True,
        stream=stream,
        timeout_s=options.get("timeout_s"),
    )
    return (yield from answered(send, retries))


def whole_answer(response: httpx.Response) -> Answer:
    """The answer that a `chat.completion` is.

    Raises:
        UnexpectedAnswer: it is none.
    """

    def reader() -> Answer:
        body = response.json()
        choice = body["choices"][0]
        return _answer(body, choice["message"]["content"], choice["finish_reason"], response)

    return read(response, reader)


class AnswerParser:
    """From the bytes of a streamed answer to its events."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._events = EventDecoder()
        self._text = ""
        self._finish_reason = ""
        self._last: dict[str, Any] = {}
        self.finished = False

    def feed(self, received: bytes) -> Iterator[Event]:
        """Raises ApiError: the server failed in the middle; UnexpectedAnswer."""
        for data in self._events.feed(received):
            if data == "[DONE]":
                yield from self._end()
            else:
                yield from self._chunk(data)

    def close(self) -> None:
        """The stream is over.

        Raises:
            UnexpectedAnswer: before its end.
        """
        if not self.finished:
            raise UnexpectedAnswer("The answer broke off before its end: ask again.")

    def _chunk(self, data: str) -> Iterator[Event]:
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                raise stream_error(chunk["error"])
            if "session_id" in chunk:
                self._last = chunk
            if "progress" in chunk:
                yield _progress(chunk["progress"])
            for choice in chunk["choices"]:
                self._finish_reason = choice.get("finish_reason") or self._finish_reason
                if piece := choice["delta"].get("content"):
                    self._text += piece
                    yield Delta(piece)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UnexpectedAnswer("The stream holds something that is no piece of an answer.") from error

    def _end(self) -> Iterator[Event]:
        answer = read(self._response, lambda: _answer(self._last, self._text, self._finish_reason, self._response))
        self.finished = True
        yield from answer.steps or ()
        yield Finished(answer)


def _progress(told: Mapping[str, Any]) -> Progress:
    details = dict(told)
    kind, skill = str(details.pop("kind")), details.pop("skill", None)
    return Progress(kind, details.pop("skills", [skill]), details)


def _answer(body: Mapping[str, Any], text: str, finish_reason: str, response: httpx.Response) -> Answer:
    ours = {name: value for name, value in body.items() if name not in ("object", "choices", "debug", "error")}
    return Answer.model_validate(
        ours
        | {
            "text": text,
            "finish_reason": finish_reason,
            "steps": (body.get("debug") or {}).get("steps"),
            "request_id": response.headers.get("x-request-id"),
            "repeated": response.headers.get(REPLAYED) == "true",
        }
    )


def _parts(
    text: str, pictures: Sequence[PictureLike | Named], options: Options, retries: Retries
) -> Flow[list[dict[str, Any]]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for picture in pictures:
        given, name = picture if isinstance(picture, Named) else (picture, None)
        url = {"url": (yield from picture_reference(given, retries))}
        parts.append({"type": "image_url", "image_url": url | ({"name": name} if name else {})})
    if points := options.get("points"):
        part: dict[str, Any] = {"type": "points", "points": [list(point) for point in points]}
        if (labels := options.get("point_labels")) is not None:
            part["labels"] = list(labels)
        parts.append(part)
    if boxes := options.get("boxes"):
        parts.append({"type": "boxes", "boxes": [list(box) for box in boxes]})
    if (mask := options.get("mask")) is not None:
        parts.append({"type": "mask", "mask": (yield from mask_reference(mask, retries))})
    if (reference := options.get("reference")) is not None:
        shown, over = reference
        image = yield from picture_reference(shown, retries)
        parts.append({"type": "reference", "image": image, "mask": (yield from mask_reference(over, retries))})
    return parts


@dataclass(slots=True)
class Thread:
    """What a conversation remembers between its questions.

    Attributes:
        id: the session's, None before the first answer.
    """

    id: str | None
    instructions: str = ""

    def options(self, given: Options) -> Options:
        """Those of the next question."""
        if self.id is not None:
            return {**given, "session": self.id}
        return {"instructions": self.instructions, **given} if self.instructions else given

    def note(self, answer: Answer) -> None:
        self.id = answer.session_id
