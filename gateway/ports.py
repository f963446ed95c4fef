"""What the orchestrator and the API need from the outside, as protocols.

Production implementations: `planner.client` (Planner), `gateway.skill_client` (SkillClient),
`gateway.state` (ImageStore, SessionStore). Fakes of them appear in unit tests only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.orchestrator.events import TurnEvent, TurnRequest
from gateway.state.answers import KeptAnswer
from gateway.state.job_models import Job, JobWork, Progress
from gateway.state.locks import Hold
from gateway.state.models import ImageInfo, ListedSession, Session
from planner.api import Planner
from services.core.context import CallContext
from services.core.spec import SkillSpec, Symbol

__all__ = [
    "Answer",
    "AnswerStore",
    "CallContext",
    "Fetcher",
    "ImageStore",
    "JobStore",
    "Planner",
    "ProgressSource",
    "RunningJob",
    "SessionStore",
    "SkillClient",
    "SkillOutcome",
    "StoredImage",
    "TurnRunner",
]


@dataclass(frozen=True, slots=True)
class SkillOutcome:
    """A successful skill call.

    Attributes:
        result: JSON-compatible, valid against the spec's `result_model`; produced pictures are stored and appear in
            it as handles.
        checkpoint: which weights answered.
        compute_ms: time in `predict`; wait_ms: time queued before it.
        batch_size: how many calls shared the batch.
        pictures: handles of the produced pictures, by result field.
        cached: the result is that of an earlier call; nothing was computed.
    """

    skill: str
    result: dict[str, Any]
    checkpoint: str
    compute_ms: float
    wait_ms: float
    batch_size: int = 1
    pictures: Mapping[str, str] = field(default_factory=dict)
    cached: bool = False


class SkillClient(Protocol):
    """Runs skills wherever they live."""

    def specs(self) -> Sequence[SkillSpec]:
        """The skills that this deployment offers, sorted by name."""
        ...

    def resolve(self, name: str) -> SkillSpec:
        """The spec that a name or alias means.

        Raises:
            UnknownSkill: nothing offered has that name; the message lists what is.
        """
        ...

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        """Validate `args` against the spec and run the skill on stored pictures (handles).

        Raises:
            BadArguments, SkillUnavailable, SkillFailed: see `services.core.errors`.
        """
        ...

    async def warm(self, skill: str) -> None:
        """Have the skill ready for a call that will come soon. Does nothing where it is; raises nothing.

        Args:
            skill: canonical name.
        """
        ...

    async def ready(self) -> Mapping[str, bool]:
        """For each skill, whether a call now would be answered."""
        ...


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture's bytes as uploaded, with what is known about it."""

    info: ImageInfo
    data: bytes = field(repr=False)


class ImageStore(Protocol):
    """Content-addressed pictures with an owner and a time to live."""

    async def put(self, data: bytes, *, owner: str, lineage: Mapping[str, Any] | None = None) -> ImageInfo:
        """Verify, store and return the handle; the same bytes give the same handle.

        Raises:
            BadImage: not a picture, damaged, or over the limits.
        """
        ...

    async def get(self, image_id: str, *, owner: str) -> StoredImage:
        """Raises `ImageNotFound` for unknown, expired and other owners' pictures alike."""
        ...

    async def info(self, image_id: str, *, owner: str) -> ImageInfo:
        """Like `get` without the bytes; this too counts as a use and renews the time to live."""
        ...


class Fetcher(Protocol):
    """Gets pictures from URLs that clients name; `gateway.security.fetch.GuardedFetch` in production."""

    async def fetch(self, url: str) -> bytes:
        """The bytes behind a URL. Nobody has looked at them: `ImageStore.put` says whether they are a picture.

        Raises:
            FetchRefused: the URL is none that is fetched.
            FetchFailed: there is nothing to be had, or not in time.
        """
        ...


class SessionStore(Protocol):
    """Conversations with a time to live."""

    async def create(self, *, owner: str) -> Session:
        """A new session with an id of its own; it is not stored before `save`."""
        ...

    async def get(self, session_id: str, *, owner: str) -> Session:
        """Raises `SessionNotFound` for unknown, expired and other owners' sessions alike."""
        ...

    async def save(self, session: Session, *, hold: Hold | None = None, answer: KeptAnswer | None = None) -> None:
        """Store the session as it is now and renew its time to live.

        Args:
            hold: the session's lock, under which it was read.
            answer: to the message that changed it, stored with it or not at all.

        Raises:
            SessionLockLost, MessageLockLost: a lock is somebody else's now, and nothing was stored.
        """
        ...

    def locked(self, session_id: str) -> AbstractAsyncContextManager[Hold]:
        """Keep other messages of the session out for the block; it waits while another one is in.

        Raises:
            SessionBusy: it waited for `session_wait_s` seconds.
        """
        ...

    async def page(self, *, owner: str, limit: int, after: str | None = None) -> Sequence[ListedSession]:
        """The owner's sessions, the last used first; after the session with that id where one is given.

        Being listed is no use of a session: its time to live goes on.
        """
        ...

    async def delete(self, session_id: str, *, owner: str) -> None:
        """Forget a session. Raises `SessionNotFound` as `get` does."""
        ...

    async def ready(self) -> bool:
        """Whether the store answers."""
        ...


class Answer(Protocol):
    """One message under its `Idempotency-Key`.

    Attributes:
        known: its answer, where there is one; else it is the caller's to find.
    """

    known: dict[str, Any] | None

    def kept(self, answer: dict[str, Any]) -> KeptAnswer:
        """The answer for those who send the message again, to be stored with what the message changed."""
        ...


class AnswerStore(Protocol):
    """Answers of messages that clients may send again."""

    def answering(self, key: str, body: bytes, *, owner: str) -> AbstractAsyncContextManager[Answer]:
        """Find the answer of an equal message, waiting for one that is being answered, or become who answers it.

        Raises:
            InvalidRequest: the key was used for another message.
            MessageRunning: the other one is still running when a turn's time is over.
        """
        ...


class RunningJob(Protocol):
    """A job that this process has taken from the queue; see `gateway.state.jobs.TakenJob`.

    Attributes:
        lost: somebody else answers for it now; cancelled: nobody wants it any more.
    """

    id: str
    owner: str
    work: JobWork
    lost: bool
    cancelled: bool

    async def beat(self, progress: Progress) -> None:
        """Keep the job, tell how far it is, and learn whether it is still wanted. To be called all the time."""
        ...

    async def succeeded(self, result: bytes) -> None: ...

    async def failed(self, error: dict[str, Any]) -> None: ...

    async def ended(self) -> None: ...


class JobStore(Protocol):
    """Jobs of all gateways: `gateway.state.jobs.RedisJobStore` in production.

    All raise `JobNotFound` for unknown, expired and other owners' jobs alike.
    """

    async def submit(
        self, work: JobWork, *, owner: str, kept: Callable[[dict[str, Any]], KeptAnswer] | None = None
    ) -> Job:
        """Queue a job.

        Args:
            kept: `Answer.kept` of the message that asks for it; the answer, the job's `id`, is stored with the job or
                not at all.

        Raises:
            JobQueueFull, MessageLockLost: nothing was queued.
        """
        ...

    async def take(self) -> RunningJob | None:
        """The job that has waited longest, now this process' own; None where none waits."""
        ...

    async def get(self, job_id: str, *, owner: str) -> Job: ...

    async def result(self, job_id: str, *, owner: str) -> bytes:
        """The result of a job that succeeded, as JSON."""
        ...

    async def cancel(self, job_id: str, *, owner: str) -> Job:
        """End a job that waits, ask for the end of one that runs, and do nothing to one that is over."""
        ...

    async def page(self, *, owner: str, limit: int, after: str | None = None) -> Sequence[Job]:
        """The owner's jobs, the newest first; after the one with that id where one is given."""
        ...


class ProgressSource(Protocol):
    """Tells how far skill calls are, where the skills can tell it."""

    async def progress(self, request_id: str) -> Progress | None:
        """How far the call of that request is; None where nobody knows. Raises nothing."""
        ...


class TurnRunner(Protocol):
    """Runs one turn; `gateway.orchestrator.orchestrator.Orchestrator` in production."""

    def run(self, request: TurnRequest, session: Session, context: CallContext) -> AsyncGenerator[TurnEvent, None]:
        """Yield what happens and end with one `TurnFinished` that carries the updated session.

        Closing the generator stops the turn and leaves nothing behind.

        Raises:
            PlannerUnavailable, PromptTooLong, ImageNotFound: no answer can be had.
        """
        ...
