"""A running platform as its clients see it: chat with sessions, pictures, single tools, over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from types import TracebackType
from typing import Any

import httpx

from planner.eval.cases import Case, Given
from planner.eval.command import EvaluationError
from planner.eval.playing import Played
from services.core.errors import BadArguments, SkillFailed, SkillUnavailable

TURN_S = 600.0
"""Longest wait for one answer, seconds."""


class PlatformGone(EvaluationError):
    """Nobody answers at the platform's address, or the answer broke off."""


class CannotAnswer(EvaluationError):
    """The platform is there, and cannot answer this now."""


@dataclass(frozen=True)
class Reply:
    """An answer with the steps that led to it.

    Attributes:
        steps: `debug.steps`: thoughts, actions, results.
        produced: handles of the pictures that skills made.
        error: what the platform said instead of answering.
        struck: a mistake was made on purpose in this turn.
    """

    answer: str = ""
    session: str | None = None
    steps: Sequence[Mapping[str, Any]] = field(default_factory=list)
    produced: Sequence[str] = ()
    error: str = ""
    struck: bool = False

    @property
    def actions(self) -> list[dict[str, Any]]:
        """All calls that the planner made."""
        return [action for step in self.steps if step.get("kind", "plan") == "plan" for action in step["actions"]]

    def results(self, *skills: str) -> list[dict[str, Any]]:
        """Results of successful calls, of these skills or of all, oldest first."""
        found = [record for step in self.steps for record in step["results"]]
        return [
            record["result"]
            for record in found
            if isinstance(record.get("result"), dict) and (not skills or record["skill"] in skills)
        ]


class GatewayClient:
    """Speaks to a platform; used as an asynchronous context manager.

    Args:
        url: for example http://127.0.0.1:8000.
        key: sent as a bearer token.
        transport: for tests; httpx's own by default.

    Attributes:
        lost: how often the platform could not be reached.
    """

    def __init__(self, url: str, key: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"), headers=headers, transport=transport, timeout=TURN_S, trust_env=False
        )
        self.url = url
        self.lost = 0

    async def __aenter__(self) -> GatewayClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def upload(self, data: bytes, name: str = "picture.png") -> str:
        """A picture's handle."""
        response = await self._sent("POST", "/v1/images", files={"file": (name, data)})
        return str(self._good(response)["id"])

    async def picture(self, handle: str) -> bytes:
        response = await self._sent("GET", f"/v1/images/{handle}")
        self._refuse(response)
        return response.content

    async def skills(self) -> list[str]:
        """Names of the skills that the platform offers."""
        listed: dict[str, Any] = self._good(await self._sent("GET", "/v1/tools"))
        return [str(tool["name"]) for tool in listed["data"]]

    async def call_tool(self, name: str, images: Mapping[str, str], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A skill's whole answer: `result`, `checkpoint`, `timing`.

        Args:
            images: handles by what they are for: `image`, `mask`, ...

        Raises:
            BadArguments, SkillUnavailable, SkillFailed: the platform's error, as a caller of the skill would get it.
        """
        body = {"arguments": dict(arguments)} | dict(images)
        response = await self._sent("POST", f"/v1/tools/{name}", json=body)
        if response.status_code == httpx.codes.OK:
            return dict(response.json())
        if response.status_code in (400, 404, 413, 422):
            raise BadArguments(_message(response))
        if response.status_code in (429, 503, 504):
            raise SkillUnavailable(_message(response))
        raise SkillFailed(_message(response))

    async def tool(self, name: str, image: str | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A skill's result. Raises `EvaluationError` when it has none."""
        body: dict[str, Any] = {"arguments": dict(arguments)} | ({"image": image} if image else {})
        answered = self._good(await self._sent("POST", f"/v1/tools/{name}", json=body))
        result = answered.get("result", answered)
        return dict(result)

    async def chat(
        self,
        text: str,
        parts: Sequence[Mapping[str, Any]] = (),
        *,
        session: str | None = None,
        earlier: Sequence[Mapping[str, Any]] = (),
        mode: str | None = None,
    ) -> Reply:
        """Ask. What the platform refuses is a `Reply` with an error: it did not answer.

        Args:
            parts: pictures, marks, masks and examples that come along.
            earlier: messages that come before, where there is no session.

        Raises:
            PlatformGone: the platform cannot be reached.
            CannotAnswer: it has no answer now; asking again may help.
        """
        message = {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
        body: dict[str, Any] = {"model": "llava-plus", "messages": [*earlier, message], "debug": True}
        body |= {name: value for name, value in (("session_id", session), ("mode", mode)) if value}
        response = await self._sent("POST", "/v1/chat/completions", json=body)
        if _may_pass(response):
            raise CannotAnswer(f"{self.url} answered {response.status_code}: {_message(response)} Run again later.")
        if response.status_code != httpx.codes.OK:
            return Reply(session=session, error=f"{response.status_code}: {_message(response)}")
        said = response.json()
        return Reply(
            answer=said["choices"][0]["message"]["content"] or "",
            session=said["session_id"],
            steps=(said.get("debug") or {}).get("steps", []),
            produced=said.get("produced_images", []),
        )

    async def _sent(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            return await self._client.request(method, path, **given)
        except httpx.HTTPError as error:
            self.lost += 1
            problem = type(error).__name__
            raise PlatformGone(f"{self.url} cannot be reached ({problem}): is the platform up?") from error

    def _good(self, response: httpx.Response) -> Any:
        self._refuse(response)
        return response.json()

    def _refuse(self, response: httpx.Response) -> None:
        if response.status_code >= 400:
            kind = CannotAnswer if _may_pass(response) else EvaluationError
            raise kind(f"{response.request.url.path}: {response.status_code}: {_message(response)}")


def _may_pass(response: httpx.Response) -> bool:
    """Whether it is the platform's trouble and not the request's."""
    return response.status_code in (408, 429) or response.status_code >= 500


def _message(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def picture_part(handle: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": handle}}


def points_part(points: Sequence[Sequence[float]], labels: Sequence[int] | None = None) -> dict[str, Any]:
    return {"type": "points", "points": [list(point) for point in points]} | ({"labels": labels} if labels else {})


def boxes_part(boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {"type": "boxes", "boxes": [list(box) for box in boxes]}


def mask_part(mask: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "mask", "mask": dict(mask)}


def reference_part(handle: str, mask: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "reference", "image": handle, "mask": dict(mask)}


class GatewayPlayer:
    """Plays requests with the planner of a running platform, which then really runs the skills.

    Earlier turns go along as messages: the calls in them cannot be told through the public API.

    Args:
        picture: stands for every picture of a request.
    """

    def __init__(self, client: GatewayClient, picture: bytes) -> None:
        self.name = client.url
        self._client = client
        self._picture = picture

    async def play(self, case: Case) -> Played:
        """See `planner.eval.playing.Player`."""
        data = "data:image/png;base64," + base64.b64encode(self._picture).decode()
        shown = [picture_part(data)] * min(case.given.pictures, 1)
        earlier: list[dict[str, Any]] = []
        for event in case.before:
            if event.user is not None:
                earlier.append({"role": "user", "content": [*shown, {"type": "text", "text": event.user}]})
                shown = []
            elif event.assistant is not None:
                earlier.append({"role": "assistant", "content": event.assistant})
        parts = [*shown, *self._given(case.given, data)]
        reply = await self._client.chat(case.text, parts, earlier=earlier)
        silent = [step for step in reply.steps[:-1] if not step["actions"] and step.get("kind", "plan") == "plan"]
        return Played(
            actions=reply.actions,
            answer=reply.answer,
            broken=reply.error or (f"not in the dialect: {silent[0]['value'][:300]}" if silent else ""),
            seconds=[round(step["planner_ms"] / 1e3, 3) for step in reply.steps if step.get("kind", "plan") == "plan"],
        )

    def _given(self, given: Given, data: str) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        if given.marks.points:
            parts.append(points_part(given.marks.points, given.marks.point_labels or None))
        if given.marks.boxes:
            parts.append(boxes_part(given.marks.boxes))
        if given.mask or given.reference:
            mask = {"mask": _middle_mask(self._picture)}
            kinds = ({"type": "mask"},) if given.mask else ()
            parts += [kind | mask for kind in kinds]
            if given.reference:
                parts.append({"type": "reference", "image": data} | mask)
        return parts


def _middle_mask(picture: bytes) -> str:
    """A mask over the middle of a picture, as a data: URL."""
    from PIL import Image

    with Image.open(BytesIO(picture)) as opened:
        width, height = opened.size
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (width // 3, height // 3, 2 * width // 3, 2 * height // 3))
    out = BytesIO()
    mask.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
