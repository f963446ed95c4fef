"""The client that blocks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from PIL import Image

from llava_plus import chat, endpoints, jobs
from llava_plus.chat import AnswerParser, Delta, Event, Finished, Options, Thread, whole_answer
from llava_plus.connection import DEFAULT_TIMEOUT_S, http_options
from llava_plus.endpoints import Variant
from llava_plus.errors import ApiError
from llava_plus.flow import Flow, run
from llava_plus.models import (
    Answer,
    ImageDetails,
    ImageInfo,
    Job,
    JobPage,
    Readiness,
    Replay,
    Session,
    SessionPage,
    Tool,
    ToolResult,
)
from llava_plus.pictures import MaskLike, Named, PictureLike, upload
from llava_plus.retries import Retries, told_as_unreachable

T = TypeVar("T")


class Client:
    """A connection to a platform; close it, or use it in a `with`.

    Every method raises `LlavaPlusError`s: `ServerUnreachable`, `ApiError` and what is derived from them.

    Args:
        base_url: like http://127.0.0.1:8000; `LLAVA_PLUS_URL`, or that, when absent.
        api_key: `LLAVA_PLUS_API_KEY` when absent; none is sent when that is not set.
        timeout_s: longest wait for an answer, or for the next piece of one, seconds.
        retries: when a request is sent again.
        transport: in the place of the network.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**http_options(base_url, api_key, timeout_s), transport=transport)
        self._retries = retries or Retries()

    @property
    def base_url(self) -> str:
        return str(self._http.base_url).rstrip("/")

    def ask(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> Answer:
        """Ask a question about pictures; `llava_plus.chat.Options` says what may go with it."""
        return whole_answer(self._run(chat.ask(text, pictures, options, self._retries, stream=False)))

    def stream(
        self,
        text: str,
        *pictures: PictureLike | Named,
        finished: Callable[[Answer], None] = lambda _: None,
        **options: Unpack[Options],
    ) -> AnswerStream:
        """The same, with the answer as it is written: a context manager over its events.

        Args:
            finished: told of the whole answer.
        """
        return AnswerStream(self._http, chat.ask(text, pictures, options, self._retries, stream=True), finished)

    def conversation(self, session: str | None = None, *, instructions: str = "") -> Conversation:
        """A new conversation, or the one of a session id.

        Args:
            instructions: what the planner is told in front of a new one.
        """
        return Conversation(self, Thread(session, instructions))

    def tools(self) -> list[Tool]:
        """The skills that this deployment offers."""
        return self._run(endpoints.tools(self._retries))

    def tool(self, name: str) -> Tool:
        """One skill by name or alias."""
        return self._run(endpoints.tool(name, self._retries))

    def call(
        self,
        tool: str,
        image: PictureLike | None = None,
        /,
        *,
        inputs: Mapping[str, MaskLike] | None = None,
        overlay: bool = False,
        use_cache: bool = True,
        timeout_s: float | None = None,
        **arguments: Any,
    ) -> ToolResult:
        """Call one skill, without the planner.

        Args:
            image: what it works on, where it takes a picture.
            inputs: what else it takes, by symbol: `mask`, `image_seg`, `reference_image`, `reference_mask`.
            overlay: draw what was found over the picture too: the result's `render`.
            use_cache: take the result of an equal call if there is one.
            arguments: as the skill's schema has them (`tool(name).arguments`).
        """
        flow = endpoints.call(
            tool,
            image,
            inputs or {},
            arguments,
            self._retries,
            overlay=overlay,
            use_cache=use_cache,
            timeout_s=timeout_s,
        )
        return self._run(flow)

    def call_each(
        self,
        tool: str,
        images: Sequence[PictureLike],
        /,
        *,
        use_cache: bool = True,
        timeout_s: float | None = None,
        **arguments: Any,
    ) -> list[ToolResult | ApiError]:
        """Call one skill on several pictures with the same arguments, in one request.

        Returns:
            For each picture its result, or the error that it would have got alone, which is not raised.
        """
        flow = endpoints.call_each(tool, images, arguments, self._retries, use_cache=use_cache, timeout_s=timeout_s)
        return self._run(flow)

    def upload(self, picture: PictureLike) -> ImageInfo:
        """Store a picture, for several calls."""
        return self._run(upload(picture, self._retries))

    def image_info(self, handle: str) -> ImageDetails:
        """Size, owner, time to live and lineage of a stored picture."""
        return self._run(endpoints.image_info(handle, self._retries))

    def image_bytes(
        self, handle: str, variant: Variant = "original", *, session: str | None = None, call: str | None = None
    ) -> bytes:
        """A picture's file.

        Args:
            variant: "original", "thumbnail" (JPEG), or "overlay" (PNG): with the boxes, masks and maps that calls of
                the `session` found in it, or one `call` by its id.
        """
        return self._run(endpoints.image_bytes(handle, variant, session, call, self._retries))

    def image(
        self, handle: str, variant: Variant = "original", *, session: str | None = None, call: str | None = None
    ) -> Image.Image:
        """The same, decoded."""
        return Image.open(io.BytesIO(self.image_bytes(handle, variant, session=session, call=call)))

    def sessions(self, limit: int = 20, after: str | None = None) -> SessionPage:
        """Conversations, the last used first; `after` is the last id of the page before."""
        return self._run(endpoints.sessions(limit, after, self._retries))

    def session(self, session_id: str, *, debug: bool = False) -> Session:
        """What was asked and answered; with `debug` every step."""
        return self._run(endpoints.session(session_id, debug, self._retries))

    def delete_session(self, session_id: str) -> None:
        """Forget a conversation."""
        self._run(endpoints.delete_session(session_id, self._retries))

    def replay_session(
        self, session_id: str, *, debug: bool = False, use_cache: bool = True, timeout_s: float | None = None
    ) -> Replay:
        """Ask the questions of a conversation again, in a new one."""
        return self._run(endpoints.replay_session(session_id, debug, use_cache, timeout_s, self._retries))

    def submit(
        self,
        tool: str,
        image: PictureLike | None = None,
        /,
        *,
        inputs: Mapping[str, MaskLike] | None = None,
        use_cache: bool = True,
        **arguments: Any,
    ) -> Job:
        """Call one skill as a job: it runs by itself, and `wait` gives its result."""
        flow = jobs.submit_call(tool, image, inputs or {}, arguments, self._retries, use_cache=use_cache)
        return self._run(flow)

    def submit_question(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> Job:
        """Ask the planner as a job."""
        return self._run(jobs.submit_question(text, pictures, options, self._retries))

    def jobs(self, limit: int = 20, after: str | None = None) -> JobPage:
        """Jobs, the newest first; `after` is the last id of the page before."""
        return self._run(jobs.page(limit, after, self._retries))

    def job(self, job_id: str) -> Job:
        """How a job stands."""
        return self._run(jobs.job(job_id, self._retries))

    def cancel_job(self, job_id: str) -> Job:
        """End a job; one that runs ends a moment later."""
        return self._run(jobs.cancel(job_id, self._retries))

    def job_result(self, job_id: str) -> ToolResult | Answer:
        """What a job that is over gave; raises what it failed with, or `Conflict` while it is not over."""
        return self._run(jobs.result(job_id, self._retries))

    def wait(self, job_id: str, progress: Callable[[Job], None] = lambda _: None) -> ToolResult | Answer:
        """The result of a job, as soon as it is over.

        Args:
            progress: told how it stands, each time that it is looked at.
        """
        return self._run(jobs.waited_for(job_id, progress, self._retries))

    def readiness(self) -> Readiness:
        """Whether requests would be answered now."""
        return self._run(endpoints.readiness(self._retries))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        return run(flow, self._http)


class AnswerStream:
    """An answer as it is written. Leaving the `with` early stops the planner.

    Attributes:
        answer: the whole, once the stream has ended.
    """

    def __init__(
        self, http: httpx.Client, asking: Flow[httpx.Response], finished: Callable[[Answer], None] = lambda _: None
    ) -> None:
        self._http = http
        self._asking = asking
        self._finished = finished
        self._response: httpx.Response | None = None
        self.answer: Answer | None = None

    def __enter__(self) -> Self:
        self._response = run(self._asking, self._http)
        return self

    def __iter__(self) -> Iterator[Event]:
        """Pieces of the answer, with `debug` the steps, and at last the whole."""
        if self._response is None:
            raise RuntimeError("use the stream in a `with`")
        parser = AnswerParser(self._response)
        with told_as_unreachable():
            for received in self._response.iter_bytes():
                for event in parser.feed(received):
                    if isinstance(event, Finished):
                        self.answer = event.answer
                        self._finished(event.answer)
                    yield event
        parser.close()

    def text(self) -> Iterator[str]:
        """The pieces of the answer alone."""
        for event in self:
            if isinstance(event, Delta):
                yield event.text

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._response is not None:
            self._response.close()


class Conversation:
    """Questions that build on each other; a picture needs to be given once."""

    def __init__(self, client: Client, thread: Thread) -> None:
        self._client = client
        self._thread = thread

    @property
    def id(self) -> str | None:
        """The session's, None before the first answer."""
        return self._thread.id

    def ask(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> Answer:
        """The next question."""
        answer = self._client.ask(text, *pictures, **self._thread.options(options))
        self._thread.note(answer)
        return answer

    def stream(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> AnswerStream:
        """The next question, with the answer as it is written: a context manager over its events."""
        return self._client.stream(text, *pictures, finished=self._thread.note, **self._thread.options(options))
