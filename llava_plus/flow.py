"""One implementation for the sync and the async client: what to do, without doing it.

A flow is a generator that yields effects and is sent their outcome. It decides what is sent, in what order, and when
again; a driver performs the effects, blocking or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the outcome is an `httpx.Response`, or an `httpx.TransportError` raised in the flow.

    Attributes:
        repeatable: sent twice, it does what it does once; only then is it sent again after a broken connection.
        stream: leave the body of a good answer unread.
        timeout_s: longest wait for the next bytes, seconds; the client's own when None.
    """

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    files: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    repeatable: bool = False
    stream: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Something that blocks, such as reading a file; the outcome is what it returns."""

    do: Callable[[], Any]


Effect = Send | Sleep | Work
Flow = Generator[Effect, Any, T]


def run(flow: Flow[T], http: httpx.Client) -> T:
    """Perform a flow in this thread."""
    try:
        effect = next(flow)
        while True:
            try:
                outcome = _perform(effect, http)
            except httpx.TransportError as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def run_async(flow: Flow[T], http: httpx.AsyncClient) -> T:
    """Perform a flow without blocking the event loop."""
    try:
        effect = next(flow)
        while True:
            try:
                outcome = await _perform_async(effect, http)
            except httpx.TransportError as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _perform(effect: Effect, http: httpx.Client) -> Any:
    if isinstance(effect, Sleep):
        time.sleep(effect.seconds)
        return None
    if isinstance(effect, Work):
        return effect.do()
    response = http.send(_request(effect, http), stream=effect.stream)
    if effect.stream and response.is_error:
        try:
            response.read()
        finally:
            response.close()
    return response


async def _perform_async(effect: Effect, http: httpx.AsyncClient) -> Any:
    if isinstance(effect, Sleep):
        await asyncio.sleep(effect.seconds)
        return None
    if isinstance(effect, Work):
        return await asyncio.to_thread(effect.do)
    response = await http.send(_request(effect, http), stream=effect.stream)
    if effect.stream and response.is_error:
        try:
            await response.aread()
        finally:
            await response.aclose()
    return response


def _request(send: Send, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
    given: dict[str, Any] = {"params": send.params or None, "headers": send.headers, "files": send.files}
    if send.json is not None:
        given["json"] = send.json
    if send.timeout_s is not None:
        given["timeout"] = httpx.Timeout(send.timeout_s, connect=http.timeout.connect)
    return http.build_request(send.method, send.path, **given)
