"""Calls of Serve applications from outside: lazy handles, deadlines, and Ray's errors put in our terms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from services.core.errors import DeadlineExceeded, SkillOverloaded, SkillUnavailable

STATUS_MAX_AGE_S = 1.0
_END = object()


class AppHandle:
    """One application's ingress deployment, resolved at the first call.

    With Serve's throughput flags a handle works only inside a running event loop, and an application
    may appear after its callers: both are why it is looked up late.

    Args:
        app: name of the Serve application.
    """

    def __init__(self, app: str) -> None:
        self.app = app
        self._handle: Any = None

    async def call(self, method: str, payload: Any, deadline: float) -> Any:
        """One call. A replica that dies under it is given one more try.

        Raises:
            SkillOverloaded, DeadlineExceeded, SkillUnavailable: see `services.core.errors`.
        """
        try:
            return await self._call_once(method, payload, deadline)
        except ReplicaDied:
            return await self._call_once(method, payload, deadline)

    async def _call_once(self, method: str, payload: Any, deadline: float) -> Any:
        with self._errors_mapped():
            response = getattr(self._resolved(), method).remote(payload)
            try:
                async with asyncio.timeout(_remaining(deadline)):
                    return await response
            except (TimeoutError, asyncio.CancelledError):
                response.cancel()
                raise

    async def stream(self, method: str, payload: Any, deadline: float) -> AsyncGenerator[Any, None]:
        """A streaming call; closing the iterator cancels it in the replica. Raises as `call`, without a retry."""
        with self._errors_mapped():
            responses = getattr(self._resolved().options(stream=True), method).remote(payload)
            try:
                # A timeout around each wait, not around the loop: the consumer's own time is no concern of it.
                while True:
                    async with asyncio.timeout(_remaining(deadline)):
                        item = await anext(responses, _END)
                    if item is _END:
                        return
                    yield item
            finally:
                responses.cancel()

    def _resolved(self) -> Any:
        if self._handle is None:
            import ray
            from ray import serve

            # Asked without a connection, Serve would start a cluster of its own.
            if not ray.is_initialized():
                raise SkillUnavailable(f"{self.app} cannot be reached: no connection to Ray.", retry_after_s=5.0)
            self._handle = serve.get_app_handle(self.app)
        return self._handle

    @contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        from ray.exceptions import RayActorError, RayError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException

        try:
            yield
        except TimeoutError:
            raise DeadlineExceeded(f"{self.app} did not answer within the call's deadline.") from None
        except BackPressureError:
            raise SkillOverloaded(f"{self.app} has too many calls waiting. Try again.", retry_after_s=1.0) from None
        except RayActorError:
            raise ReplicaDied(f"A replica of {self.app} was lost. Try again.", retry_after_s=2.0) from None
        except (DeploymentUnavailableError, RayServeException):
            self._handle = None
            raise SkillUnavailable(f"{self.app} is not running yet. Try again.", retry_after_s=5.0) from None
        except RayError as error:
            raise SkillUnavailable(f"{self.app} cannot be reached. Try again.", retry_after_s=5.0) from error


class ReplicaDied(SkillUnavailable):
    """The replica went away under the call: another may answer at once."""


class AppStatus:
    """Which Serve applications can answer now, asked of Serve's controller once a second at most."""

    def __init__(self, max_age_s: float = STATUS_MAX_AGE_S) -> None:
        self._max_age_s = max_age_s
        self._asked = float("-inf")
        self._asking: asyncio.Task[frozenset[str]] | None = None
        # A thread of its own: a controller that hangs holds this one, and nobody else's.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="serve-status")

    async def ready(self) -> frozenset[str]:
        """Names of the applications that are running with at least one healthy replica."""
        asking = self._asking
        if asking is None or (asking.done() and time.monotonic() - self._asked > self._max_age_s):
            asking = self._asking = asyncio.create_task(self._ask())
        # Callers that give up leave the question to those that come after them.
        return await asyncio.shield(asking)

    async def _ask(self) -> frozenset[str]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, _running_apps)
        finally:
            self._asked = time.monotonic()


def _running_apps() -> frozenset[str]:
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    # Asked without a connection, Serve would start a cluster of its own.
    if not ray.is_initialized():
        return frozenset()
    try:
        applications = serve.status().applications
    except (RayError, RayServeException):
        return frozenset()
    return frozenset(name for name, app in applications.items() if app.status == "RUNNING")


def _remaining(deadline: float) -> float:
    return max(0.0, deadline - time.time())
