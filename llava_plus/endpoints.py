"""Every other request, and how its answer is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from llava_plus.answers import model_of, read
from llava_plus.errors import ApiError, NotFound, told_error
from llava_plus.flow import Flow, Send
from llava_plus.models import (
    ImageDetails,
    Readiness,
    Replay,
    Session,
    SessionPage,
    Tool,
    ToolResult,
)
from llava_plus.pictures import MaskLike, PictureLike, mask_reference
from llava_plus.retries import Retries, answered

Variant = Literal["original", "thumbnail", "overlay"]


def tools(retries: Retries) -> Flow[list[Tool]]:
    response = yield from answered(Send("GET", "/v1/tools", repeatable=True), retries)
    return read(response, lambda: [Tool.model_validate(one) for one in response.json()["data"]])


def tool(name: str, retries: Retries) -> Flow[Tool]:
    """Raises NotFound: no tool has this name or alias."""
    known = yield from tools(retries)
    for one in known:
        if name == one.name or name in one.aliases:
            return one
    names = ", ".join(sorted(one.name for one in known))
    raise NotFound(f"No tool is called {name!r}. Known tools: {names}.", status=404, code="unknown_skill")


def call_body(
    image: PictureLike | None, inputs: Mapping[str, MaskLike], arguments: Mapping[str, Any], retries: Retries
) -> Flow[dict[str, Any]]:
    """What a tool is given; pictures that the server has not are uploaded."""
    body: dict[str, Any] = {"arguments": dict(arguments)}
    given_pictures: dict[str, MaskLike] = dict(inputs) if image is None else {"image": image, **inputs}
    for symbol, given in given_pictures.items():
        body[symbol] = yield from mask_reference(given, retries)
    return body


def call(
    name: str,
    image: PictureLike | None,
    inputs: Mapping[str, MaskLike],
    arguments: Mapping[str, Any],
    retries: Retries,
    *,
    overlay: bool,
    use_cache: bool,
    timeout_s: float | None,
) -> Flow[ToolResult]:
    body = yield from call_body(image, inputs, arguments, retries)
    headers = {} if use_cache else {"Cache-Control": "no-cache"}
    params = {"render": "overlay"} if overlay else {}
    path = f"/v1/tools/{quote(name, safe='')}"
    send = Send("POST", path, params=params, json=body, headers=headers, timeout_s=timeout_s)
    response = yield from answered(send, retries)
    return model_of(response, ToolResult)


def call_each(
    name: str,
    images: Sequence[PictureLike],
    arguments: Mapping[str, Any],
    retries: Retries,
    *,
    use_cache: bool,
    timeout_s: float | None,
) -> Flow[list[ToolResult | ApiError]]:
    inputs: list[dict[str, Any]] = []
    for image in images:
        body = yield from call_body(image, {}, arguments, retries)
        inputs.append(body)
    headers = {} if use_cache else {"Cache-Control": "no-cache"}
    path = f"/v1/tools/{quote(name, safe='')}/batch"
    send = Send("POST", path, json={"inputs": inputs}, headers=headers, timeout_s=timeout_s)
    response = yield from answered(send, retries)
    return read(response, lambda: [_item(one) for one in response.json()["data"]])


def _item(told: Mapping[str, Any]) -> ToolResult | ApiError:
    if told["error"] is not None:
        return told_error(told["status"], told["error"])
    return ToolResult.model_validate(told["response"])


def image_info(handle: str, retries: Retries) -> Flow[ImageDetails]:
    response = yield from answered(Send("GET", f"{_image(handle)}/info", repeatable=True), retries)
    return model_of(response, ImageDetails)


def image_bytes(handle: str, variant: Variant, session: str | None, call: str | None, retries: Retries) -> Flow[bytes]:
    named = {"variant": variant, "session_id": session, "call": call}
    params = {name: value for name, value in named.items() if value is not None}
    response = yield from answered(Send("GET", _image(handle), params=params, repeatable=True), retries)
    return response.content


def sessions(limit: int, after: str | None, retries: Retries) -> Flow[SessionPage]:
    params = {"limit": limit} | ({"after": after} if after else {})
    return model_of(
        (yield from answered(Send("GET", "/v1/sessions", params=params, repeatable=True), retries)), SessionPage
    )


def session(session_id: str, debug: bool, retries: Retries) -> Flow[Session]:
    send = Send("GET", _session(session_id), params=_debug(debug), repeatable=True)
    return model_of((yield from answered(send, retries)), Session)


def delete_session(session_id: str, retries: Retries) -> Flow[None]:
    yield from answered(Send("DELETE", _session(session_id)), retries)


def replay_session(
    session_id: str, debug: bool, use_cache: bool, timeout_s: float | None, retries: Retries
) -> Flow[Replay]:
    headers = {} if use_cache else {"Cache-Control": "no-cache"}
    path = f"{_session(session_id)}/replay"
    send = Send("POST", path, params=_debug(debug), headers=headers, timeout_s=timeout_s)
    return model_of((yield from answered(send, retries)), Replay)


def readiness(retries: Retries) -> Flow[Readiness]:
    """A platform that is not ready is an answer here, and no error."""
    response = yield from answered(Send("GET", "/readyz", repeatable=True), retries, good=frozenset({503}))
    return model_of(response, Readiness)


def _image(handle: str) -> str:
    return f"/v1/images/{quote(handle, safe='')}"


def _session(session_id: str) -> str:
    return f"/v1/sessions/{quote(session_id, safe='')}"


def _debug(debug: bool) -> dict[str, str]:
    return {"debug": "true"} if debug else {}
