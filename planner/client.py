"""A planner made of an engine and a dialect: renders the conversation, streams, parses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from planner.adapters import Adapter, AdapterRefused
from planner.api import (
    AdapterNotFound,
    PlannerCalls,
    PlannerDelta,
    PlannerDone,
    PlannerEvent,
    PlannerUnavailable,
    PlanRequest,
    PromptTooLong,
)
from planner.conversation import Conversation, UserTurn, last_exchanges, with_instructions
from planner.dialects.base import Dialect, called_names
from planner.format import PlannerOutput, UnparsableOutput, valid_unicode
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from services.core.errors import ImageNotFound


class Engine(Protocol):
    """Anything that turns chat messages into text."""

    def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        """Stream chunks; closing the iterator aborts. Raises `PlannerUnavailable`."""
        ...

    async def ready(self) -> bool: ...


class AdapterSource(Protocol):
    """Where adapters are known: `planner.adapters.AdapterRegistry`."""

    async def get(self, name: str | None) -> Adapter | None:
        """The adapter of that name; without one that in use, or None. Raises `AdapterRefused`."""
        ...


class PlannerClient:
    """Implements `planner.api.Planner`.

    Args:
        engine: where text is generated.
        dialect: the form that the engine's model was trained on.
        model: the name to report.
        skills: names of the skills that the model is told of; None for all that are offered. With an adapter it is
            told of those too that the adapter was trained for.
        adapters: None for an engine without any.
    """

    def __init__(
        self,
        engine: Engine,
        dialect: Dialect,
        model: str,
        skills: frozenset[str] | None = None,
        adapters: AdapterSource | None = None,
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._model = model
        self._skills = skills
        self._adapters = adapters

    @property
    def model(self) -> str:
        return self._model

    async def ready(self) -> bool:
        return await self._engine.ready()

    async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        """See `planner.api.Planner.plan`. A conversation that is too long loses its oldest turns first."""
        conversation = request.conversation
        adapter = await self._adapter(request.adapter)
        if self._skills is not None:
            told = self._skills.union(adapter.skills if adapter else ())
            request = replace(request, tools=tuple(spec for spec in request.tools if spec.name in told))
        request = replace(request, adapter=adapter.name if adapter else None)
        while True:
            try:
                async with aclosing(self._attempt(request, conversation, context)) as events:
                    async for event in events:
                        yield event
                return
            except PromptTooLong:
                exchanges = sum(isinstance(turn, UserTurn) for turn in conversation)
                if exchanges <= 1:
                    raise
                conversation = last_exchanges(conversation, exchanges - 1)

    async def _adapter(self, name: str | None) -> Adapter | None:
        if self._adapters is None:
            if name is not None:
                raise AdapterNotFound(f"The planner has no adapter {name!r}: it was started without adapters.")
            return None
        try:
            return await self._adapters.get(name)
        except AdapterRefused as error:
            raise AdapterNotFound(str(error)) from None

    async def _attempt(
        self, request: PlanRequest, conversation: Conversation, context: CallContext
    ) -> AsyncGenerator[PlannerEvent, None]:
        engine_request = EngineRequest(
            messages=self._dialect.messages(with_instructions(conversation, request.instructions), request.tools),
            schema=self._dialect.schema(request.tools if request.may_act else ()),
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            request_id=context.request_id,
            tools=self._dialect.tools(request.tools),
            may_act=request.may_act,
            adapter=request.adapter,
        )
        text, shown, named = "", 0, 0
        async with aclosing(self._engine.generate(engine_request, context)) as chunks:
            async for chunk in chunks:
                if chunk.error is not None:
                    raise _as_exception(chunk)
                if chunk.final:
                    cut = chunk.finish_reason == "length"
                    output = self._parsed(text, chunk)
                    if output.is_answer and len(output.value) > shown:
                        yield PlannerDelta(output.value[shown:])
                    yield PlannerDone(output, chunk.prompt_tokens, chunk.completion_tokens, cut)
                    return
                text += valid_unicode(chunk.text)
                names = called_names(text)
                if len(names) > named:
                    yield PlannerCalls(tuple(names[named:]))
                    named = len(names)
                value = valid_unicode(self._dialect.partial_value(text))
                if len(value) > shown:
                    yield PlannerDelta(value[shown:])
                    shown = len(value)
        raise PlannerUnavailable("The planner's answer broke off. Try again.")

    def _parsed(self, text: str, last: EngineChunk) -> PlannerOutput:
        """The whole output; of one that `max_tokens` cut, as much of the answer as there is."""
        try:
            return PlannerOutput.model_validate(valid_unicode(self._dialect.parse(text).model_dump()))
        except UnparsableOutput as error:
            if last.finish_reason != "length":
                took = (last.prompt_tokens, last.completion_tokens)
                raise UnparsableOutput(error.reason, error.text, *took) from error
            return PlannerOutput(value=valid_unicode(self._dialect.partial_value(text)))


def _as_exception(chunk: EngineChunk) -> Exception:
    if chunk.error == "prompt_refused":
        return PromptTooLong(chunk.message)
    if chunk.error == "image_not_found":
        return ImageNotFound(chunk.message)
    if chunk.error == "adapter_not_found":
        return AdapterNotFound(chunk.message)
    return PlannerUnavailable(chunk.message)
