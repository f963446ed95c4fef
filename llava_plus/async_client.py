"""The client for an event loop: the same methods, awaited."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from PIL import Image

from llava_plus import chat, endpoints, jobs
from llava_plus.chat import AnswerParser, Delta, Event, Finished, Options, Thread, whole_answer
from llava_plus.connection import DEFAULT_TIMEOUT_S, http_options
from llava_plus.endpoints import Variant
from llava_plus.flow import Flow, run_async
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


class AsyncClient:
    """A connection to a platform; close it, or use it in an `async with`.

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**http_options(base_url, api_key, timeout_s), transport=transport)
        self._retries = retries or Retries()

    @property
    def base_url(self) -> str:
        return str(self._http.base_url).rstrip("/")

    async def ask(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> Answer:
        """Ask a question about pictures; `llava_plus.chat.Options` says what may go with it."""
        return whole_answer(await self._run(chat.ask(text, pictures, options, self._retries, stream=False)))

    def stream(
        self,
        text: str,
        *pictures: PictureLike | Named,
        finished: Callable[[Answer], None] = lambda _: None,
        **options: Unpack[Options],
    ) -> AsyncAnswerStream:
        """The same, with the answer as it is written: a context manager over its events.

        Args:
            finished: told of the whole answer.
        """
        return AsyncAnswerStream(self._http, chat.ask(text, pictures, options, self._retries, stream=True), finished)

    def conversation(self, session: str | None = None, *, instructions: str = "") -> AsyncConversation:
        """A new conversation, or the one of a session id.

        Args:
            instructions: what the planner is told in front of a new one.
        """
        return AsyncConversation(self, Thread(session, instructions))

    async def tools(self) -> list[Tool]:
        """The skills that this deployment offers."""
        return await self._run(endpoints.tools(self._retries))

    async def tool(self, name: str) -> Tool:
        """One skill by name or alias."""
        return await self._run(endpoints.tool(name, self._retries))

    async def call(
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
        return await self._run(flow)

    async def upload(self, picture: PictureLike) -> ImageInfo:
        """Store a picture, for several calls."""
        return await self._run(upload(picture, self._retries))

    async def image_info(self, handle: str) -> ImageDetails:
        """Size, owner, time to live and lineage of a stored picture."""
        return await self._run(endpoints.image_info(handle, self._retries))

    async def image_bytes(
        self, handle: str, variant: Variant = "original", *, session: str | None = None, call: str | None = None
    ) -> bytes:
        """A picture's file.

        Args:
            variant: "original", "thumbnail" (JPEG), or "overlay" (PNG): with the boxes and masks that calls of the
                `session` found in it, or one `call` by its id.
        """
        return await self._run(endpoints.image_bytes(handle, variant, session, call, self._retries))

    async def image(
        self, handle: str, variant: Variant = "original", *, session: str | None = None, call: str | None = None
    ) -> Image.Image:
        """The same, decoded."""
        return Image.open(io.BytesIO(await self.image_bytes(handle, variant, session=session, call=call)))

    async def sessions(self, limit: int = 20, after: str | None = None) -> SessionPage:
        """Conversations, the last used first; `after` is the last id of the page before."""
        return await self._run(endpoints.sessions(limit, after, self._retries))

    async def session(self, session_id: str, *, debug: bool = False) -> Session:
        """What was asked and answered; with `debug` every step."""
        return await self._run(endpoints.session(session_id, debug, self._retries))

    async def delete_session(self, session_id: str) -> None:
        """Forget a conversation."""
        await self._run(endpoints.delete_session(session_id, self._retries))

    async def replay_session(
        self, session_id: str, *, debug: bool = False, use_cache: bool = True, timeout_s: float | None = None
    ) -> Replay:
        """Ask the questions of a conversation again, in a new one."""
        return await self._run(endpoints.replay_session(session_id, debug, use_cache, timeout_s, self._retries))

    async def submit(
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
        return await self._run(flow)

    async def submit_question(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> Job:
        """Ask the planner as a job."""
        return await self._run(jobs.submit_question(text, pictures, options, self._retries))

    async def jobs(self, limit: int = 20, after: str | None = None) -> JobPage:
        """Jobs, the newest first; `after` is the last id of the page before."""
        return await self._run(jobs.page(limit, after, self._retries))

    async def job(self, job_id: str) -> Job:
        """How a job stands."""
        return await self._run(jobs.job(job_id, self._retries))

    async def cancel_job(self, job_id: str) -> Job:
        """End a job; one that runs ends a moment later."""
        return await self._run(jobs.cancel(job_id, self._retries))

    async def job_result(self, job_id: str) -> ToolResult | Answer:
        """What a job that is over gave; raises what it failed with, or `Conflict` while it is not over."""
        return await self._run(jobs.result(job_id, self._retries))

    async def wait(self, job_id: str, progress: Callable[[Job], None] = lambda _: None) -> ToolResult | Answer:
        """The result of a job, as soon as it is over.

        Args:
            progress: told how it stands, each time that it is looked at.
        """
        return await self._run(jobs.waited_for(job_id, progress, self._retries))

    async def readiness(self) -> Readiness:
        """Whether requests would be answered now."""
        return await self._run(endpoints.readiness(self._retries))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        return await run_async(flow, self._http)


class AsyncAnswerStream:
    """An answer as it is written. Leaving the `async with` early stops the planner.

    Attributes:
        answer: the whole, once the stream has ended.
    """

    def __init__(
        self, http: httpx.AsyncClient, asking: Flow[httpx.Response], finished: Callable[[Answer], None] = lambda _: None
    ) -> None:
        self._http = http
        self._asking = asking
        self._finished = finished
        self._response: httpx.Response | None = None
        self.answer: Answer | None = None

    async def __aenter__(self) -> Self:
        self._response = await run_async(self._asking, self._http)
        return self

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Pieces of the answer, with `debug` the steps, and at last the whole."""
        if self._response is None:
            raise RuntimeError("use the stream in an `async with`")
        parser = AnswerParser(self._response)
        with told_as_unreachable():
            async for received in self._response.aiter_bytes():
                for event in parser.feed(received):
                    if isinstance(event, Finished):
                        self.answer = event.answer
                        self._finished(event.answer)
                    yield event
        parser.close()

    async def text(self) -> AsyncIterator[str]:
        """The pieces of the answer alone."""
        async for event in self:
            if isinstance(event, Delta):
                yield event.text

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._response is not None:
            await self._response.aclose()


class AsyncConversation:
    """Questions that build on each other; a picture needs to be given once."""

    def __init__(self, client: AsyncClient, thread: Thread) -> None:
        self._client = client
        self._thread = thread

    @property
    def id(self) -> str | None:
        """The session's, None before the first answer."""
        return self._thread.id

    async def ask(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> Answer:
        """The next question."""
        answer = await self._client.ask(text, *pictures, **self._thread.options(options))
        self._thread.note(answer)
        return answer

    def stream(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> AsyncAnswerStream:
        """The next question, with the answer as it is written: a context manager over its events."""
        return self._client.stream(text, *pictures, finished=self._thread.note, **self._thread.options(options))
