"""From a chat request to a turn: the question, its pictures, and the session it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.api.chat_models import ChatRequest, Message
from gateway.api.model_names import adapter_named
from gateway.api.pictures import pictures
from gateway.api.visual_prompts import marks_of, symbols_of
from gateway.errors import InvalidRequest
from gateway.orchestrator.events import TurnRequest
from gateway.parts import GatewayParts
from gateway.ports import ImageStore
from gateway.settings import GatewaySettings
from gateway.state.history import without_pictures
from gateway.state.models import Session
from planner.conversation import AssistantTurn, Turn, UserTurn, last_exchanges
from planner.format import PlannerOutput
from services.core.errors import ImageNotFound


@dataclass(frozen=True, slots=True)
class TurnInput:
    """A checked question with the session it continues."""

    request: TurnRequest
    session: Session


async def turn_input(body: ChatRequest, parts: GatewayParts, owner: str) -> TurnInput:
    """Check the request, store its pictures, find or start its session.

    With `session_id` only the last message is taken. Without it the earlier messages become the
    history of a new session, which is stored when its turn has finished; system messages become its
    instructions, which the planner sees in every turn.

    Raises:
        InvalidRequest, BadImage, FetchError, ImageNotFound, SessionNotFound.
    """
    check_request(body, parts.settings)
    session = await parts.sessions.get(body.session_id, owner=owner) if body.session_id else None
    messages = body.messages
    if session is None:
        spoken = [(index, message) for index, message in enumerate(messages) if message.role in ("user", "assistant")]
        *history, last = await _turns(spoken, parts, owner)
        earlier, question = last_exchanges(tuple(history), parts.settings.history_turns_max), last
        session = await parts.sessions.create(owner=owner)
        session = session.model_copy(
            update={
                "conversation": earlier,
                "images": _pictures_of(earlier),
                "instructions": _instructions(messages),
            }
        )
    else:
        (question,) = await _turns([(len(messages) - 1, messages[-1])], parts, owner)
        session = without_pictures(session, await _gone(session, parts.images))
    assert isinstance(question, UserTurn)
    last_message, where = messages[-1], f"messages.{len(messages) - 1}.content"
    visual = [(f"{where}.{index}", part) for index, part in last_message.visual_parts]
    return TurnInput(
        TurnRequest(
            text=question.text,
            images=question.images,
            image_names=_names(last_message, question.images),
            marks=marks_of([part for _, part in visual]),
            symbols=await symbols_of(visual, parts, owner=owner),
            mode=body.mode or parts.settings.turn_mode,
            max_tokens=body.max_completion_tokens or body.max_tokens,
            temperature=body.temperature or 0.0,
            top_p=body.top_p,
            seed=body.seed,
            adapter=adapter_named(body.model, parts.planner.model),
        ),
        session,
    )


def check_request(body: ChatRequest, settings: GatewaySettings) -> None:
    """Raises `InvalidRequest` for what no answer can be given to, whatever its pictures and session are."""
    _refuse_unsupported(body, settings)
    _check_messages(body.messages, settings)


def _refuse_unsupported(body: ChatRequest, settings: GatewaySettings) -> None:
    answers_max = settings.answers_max
    if (body.n or 1) > answers_max:
        raise InvalidRequest(f"n: at most {answers_max} answers are given.", param="n")
    if (body.n or 1) > 1 and body.stream:
        raise InvalidRequest("n: several answers cannot be streamed; leave out stream, or n.", param="n")
    if body.tools or body.functions or body.tool_choice not in (None, "auto", "none"):
        param = "tools" if body.tools else "functions" if body.functions else "tool_choice"
        raise InvalidRequest(
            f"{param}: the planner uses this platform's tools (GET /v1/tools), not the client's; leave it out.",
            param=param,
        )
    if body.stop:
        raise InvalidRequest("stop: stop sequences are not supported; leave it out.", param="stop")
    if body.logprobs:
        raise InvalidRequest("logprobs: not supported; leave it out.", param="logprobs")
    if body.response_format not in (None, {"type": "text"}):
        raise InvalidRequest('response_format: only {"type": "text"} is supported.', param="response_format")


def _check_messages(messages: Sequence[Message], settings: GatewaySettings) -> None:
    if len(messages) > settings.messages_max:
        raise InvalidRequest(f"messages: at most {settings.messages_max} are taken.", param="messages")
    for index, message in enumerate(messages):
        where = f"messages.{index}.content"
        if len(message.text) > settings.text_chars_max:
            raise InvalidRequest(f"{where}: at most {settings.text_chars_max} characters are taken.", param=where)
        if len(message.picture_urls) > settings.images_per_message_max:
            raise InvalidRequest(f"{where}: at most {settings.images_per_message_max} pictures are taken.", param=where)
        if (message.picture_urls or message.visual_parts) and message.role != "user":
            raise InvalidRequest(f"{where}: only user messages may hold pictures and marks.", param=where)
    last, where = messages[-1], f"messages.{len(messages) - 1}"
    if last.role != "user":
        raise InvalidRequest(f"{where}: the last message must be the user's.", param=f"{where}.role")
    if not last.text.strip():
        raise InvalidRequest(f"{where}: the message has no text; ask a question.", param=f"{where}.content")


def _instructions(messages: Sequence[Message]) -> str:
    return "\n\n".join(message.text for message in messages if message.role in ("system", "developer"))


async def _turns(numbered: Sequence[tuple[int, Message]], parts: GatewayParts, owner: str) -> list[Turn]:
    turns: list[Turn] = []
    for index, message in numbered:
        if message.role == "assistant":
            turns.append(AssistantTurn(output=PlannerOutput(value=message.text)))
            continue
        where = f"messages.{index}.content"
        urls = [(url, f"{where}.{part}.image_url.url") for part, url in message.picture_urls]
        infos = await pictures(urls, parts, owner=owner)
        handles = dict.fromkeys(info.id for info in infos)
        turns.append(UserTurn(text=message.text, images=tuple(handles)))
    return turns


def _names(message: Message, images: Sequence[str]) -> tuple[str | None, ...]:
    """The client's names of the pictures; none where one picture was sent twice, since they do not pair up then."""
    names = tuple(message.picture_names)
    return names if any(names) and len(names) == len(images) else ()


def _pictures_of(conversation: Sequence[Turn]) -> list[str]:
    users = (turn for turn in conversation if isinstance(turn, UserTurn))
    return list(dict.fromkeys(handle for turn in users for handle in turn.images))


async def _gone(session: Session, images: ImageStore) -> set[str]:
    """Those pictures of a conversation that are no longer kept; as it goes on, the others live on."""
    handles = [*dict.fromkeys((*session.images, *_pictures_of(session.conversation), *session.symbols.values()))]
    found = await asyncio.gather(*(_kept(handle, images, session.owner) for handle in handles))
    return {handle for handle, kept in zip(handles, found, strict=True) if not kept}


async def _kept(handle: str, images: ImageStore, owner: str) -> bool:
    try:
        await images.info(handle, owner=owner)
    except ImageNotFound:
        return False
    return True
