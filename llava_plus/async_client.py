"""The client for an event loop: the same methods, awaited."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from PIL import Image

from llava_plus import chat, endpoints, jobs
from llava_plus.chat import AnswerParser, Delta, Event, Finished, Options, Thread, whole_answer
from llava_plus.connection import DEFAULT_TIMEOUT_S, http_options
from llava_plus.endpoints import Variant
from llava_plus.errors import ApiError
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

    Arguments, methods and errors are those of `Client`.
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
        """As `Client.ask`."""
        return whole_answer(await self._run(chat.ask(text, pictures, options, self._retries, stream=False)))

    def stream(
        self,
        text: str,
        *pictures: PictureLike | Named,
        finished: Callable[[Answer], None] = lambda _: None,
        **options: Unpack[Options],
    ) -> AsyncAnswerStream:
        """As `Client.stream`."""
        return AsyncAnswerStream(self._http, chat.ask(text, pictures, options, self._retries, stream=True), finished)

    def conversation(self, session: str | None = None, *, instructions: str = "") -> AsyncConversation:
        """As `Client.conversation`."""
        return AsyncConversation(self, Thread(session, instructions))

    async def tools(self) -> list[Tool]:
        """As `Client.tools`."""
        return await self._run(endpoints.tools(self._retries))

    async def tool(self, name: str) -> Tool:
        """As `Client.tool`."""
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
        """As `Client.call`."""
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

    async def call_each(
        self,
        tool: str,
        images: Sequence[PictureLike],
        /,
        *,
        use_cache: bool = True,
        timeout_s: float | None = None,
        **arguments: Any,
    ) -> list[ToolResult | ApiError]:
        """As `Client.call_each`."""
        flow = endpoints.call_each(tool, images, arguments, self._retries, use_cache=use_cache, timeout_s=timeout_s)
        return await self._run(flow)

    async def upload(self, picture: PictureLike) -> ImageInfo:
        """As `Client.upload`."""
        return await self._run(upload(picture, self._retries))

    async def image_info(self, handle: str) -> ImageDetails:
        """As `Client.image_info`."""
        return await self._run(endpoints.image_info(handle, self._retries))

    async def image_bytes(
        self, handle: str, variant: Variant = "original", *, session: str | None = None, call: str | None = None
    ) -> bytes:
        """As `Client.image_bytes`."""
        return await self._run(endpoints.image_bytes(handle, variant, session, call, self._retries))

    async def image(
        self, handle: str, variant: Variant = "original", *, session: str | None = None, call: str | None = None
    ) -> Image.Image:
        """As `Client.image`."""
        return Image.open(io.BytesIO(await self.image_bytes(handle, variant, session=session, call=call)))

    async def sessions(self, limit: int = 20, after: str | None = None) -> SessionPage:
        """As `Client.sessions`."""
        return await self._run(endpoints.sessions(limit, after, self._retries))

    async def session(self, session_id: str, *, debug: bool = False) -> Session:
        """As `Client.session`."""
        return await self._run(endpoints.session(session_id, debug, self._retries))

    async def delete_session(self, session_id: str) -> None:
        """As `Client.delete_session`."""
        await self._run(endpoints.delete_session(session_id, self._retries))

    async def replay_session(
        self, session_id: str, *, debug: bool = False, use_cache: bool = True, timeout_s: float | None = None
    ) -> Replay:
        """As `Client.replay_session`."""
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
        """As `Client.submit`."""
        flow = jobs.submit_call(tool, image, inputs or {}, arguments, self._retries, use_cache=use_cache)
        return await self._run(flow)

    async def submit_question(self, text: str, *pictures: PictureLike | Named, **options: Unpack[Options]) -> Job:
        """As `Client.submit_question`."""
        return await self._run(jobs.submit_question(text, pictures, options, self._retries))

    async def jobs(self, limit: int = 20, after: str | None = None) -> JobPage:
        """As `Client.jobs`."""
        return await self._run(jobs.page(limit, after, self._retries))

    async def job(self, job_id: str) -> Job:
        """As `Client.job`."""
        return await self._run(jobs.job(job_id, self._retries))

    async def cancel_job(self, job_id: str) -> Job:
        """As `Client.cancel_job`."""
        return await self._run(jobs.cancel(job_id, self._retries))

    async def job_result(self, job_id: str) -> ToolResult | Answer:
        """As `Client.job_result`."""
        return await self._run(jobs.result(job_id, self._retries))

    async def wait(self, job_id: str, progress: Callable[[Job], None] = lambda _: None) -> ToolResult | Answer:
        """As `Client.wait`."""
        return await self._run(jobs.waited_for(job_id, progress, self._retries))

    async def readiness(self) -> Readiness:
        """As `Client.readiness`."""
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
