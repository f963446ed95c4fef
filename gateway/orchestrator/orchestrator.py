"""One turn: plan, validate, execute, observe, until the planner answers or a limit is met."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog

from gateway.orchestrator.all_tools import already_run, understanding
from gateway.orchestrator.calls import CallResult, SkillRunner
from gateway.orchestrator.events import (
    AnswerDelta,
    SkillFinished,
    SkillStarted,
    StepPlanned,
    TurnEvent,
    TurnFinished,
    TurnRequest,
)
from gateway.orchestrator.plan import checked
from gateway.orchestrator.turn import TurnState
from gateway.ports import CallContext, ImageStore, Planner, SkillClient
from gateway.settings import GatewaySettings
from gateway.state.models import Session
from planner.api import (
    PlannerCalls,
    PlannerDelta,
    PlannerDone,
    PlannerEvent,
    PlannerUnavailable,
    PlanRequest,
    PromptTooLong,
)
from planner.format import Action, UnparsableOutput
from services.core.errors import ImageNotFound, UnknownSkill
from services.core.spec import Symbol


class Orchestrator:
    """Runs turns; holds no state of theirs.

    Args:
        planner: decides.
        skills: acts.
        images: keeps what masks are made into.
        settings: limits.
    """

    def __init__(self, planner: Planner, skills: SkillClient, images: ImageStore, settings: GatewaySettings) -> None:
        self._planner = planner
        self._skills = skills
        self._runner = SkillRunner(skills, images, settings)
        self._settings = settings
        self._log = structlog.get_logger()
        self._warming: set[asyncio.Task[None]] = set()

    async def run(
        self, request: TurnRequest, session: Session, context: CallContext
    ) -> AsyncGenerator[TurnEvent, None]:
        """Run one turn in a session.

        Yields what happens and ends with one `TurnFinished` that carries the updated session. The
        given session is not changed, and a turn that is closed early leaves nothing behind.

        Raises:
            PlannerUnavailable, PromptTooLong, ImageNotFound: no answer can be had.
        """
        turn = TurnState(request, session, context, self._settings)
        calling = self._for_calls(context)
        if request.mode == "all_tools" and not already_run(session, turn.symbols.get(Symbol.IMAGE)):
            actions: Sequence[Action] = understanding(self._skills.specs(), turn.known, self._settings.all_tools_max)
            async with aclosing(self._ran(actions, turn, calling, turn.found_before)) as found:
                async for happened in found:
                    yield happened
        while not turn.over:
            started = time.perf_counter()
            plan = PlanRequest(
                conversation=turn.conversation,
                tools=self._skills.specs(),
                may_act=turn.may_act,
                max_tokens=turn.max_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                seed=request.seed,
                instructions=session.instructions,
                adapter=request.adapter,
            )
            try:
                async with aclosing(self._said(plan, context)) as said:
                    async for event in said:
                        if isinstance(event, PlannerDelta):
                            turn.said(event.text)
                            yield AnswerDelta(event.text)
                        elif isinstance(event, PlannerCalls):
                            self._warm(event.names if turn.may_act else ())
                        else:
                            self._log_step(context, event, started)
                            turn.planned(event, _ms_since(started))
            except UnparsableOutput as error:
                self._log.warning("planner_output_unparsable", request_id=context.request_id, reason=error.reason)
                turn.misspoke(error, _ms_since(started))
            except (PlannerUnavailable, PromptTooLong, ImageNotFound) as error:
                if not turn.can_end_here:
                    raise
                self._log.warning("turn_ends_without_planner", request_id=context.request_id, reason=str(error))
                turn.end_here(cut=isinstance(error, PromptTooLong))
            actions = turn.actions
            if not actions:
                continue
            yield StepPlanned(turn.last_output)
            async with aclosing(self._ran(actions, turn, calling, turn.observed)) as ran:
                async for happened in ran:
                    yield happened
        rest = turn.close()
        if rest:
            yield AnswerDelta(rest)
        yield TurnFinished(
            turn.answer, turn.updated_session(), turn.steps, turn.usage, turn.finish_reason, turn.produced
        )

    async def _ran(
        self,
        actions: Sequence[Action],
        turn: TurnState,
        context: CallContext,
        keep: Callable[[Sequence[CallResult], float], None],
    ) -> AsyncGenerator[TurnEvent, None]:
        """Check and run actions, tell what happens, and give the results to `keep`."""
        calls = checked(actions, turn.known, self._skills)
        for call in calls:
            yield SkillStarted(call.name, call.params)
        started = time.perf_counter()
        results = await self._runner.run(calls, context)
        keep(results, _ms_since(started))
        for result in results:
            yield SkillFinished(result.skill, result.elapsed_ms, result.result, result.error, result.cached)

    def _for_calls(self, context: CallContext) -> CallContext:
        """The turn's time without what all of its calls together leave the planner for the answer."""
        reserve_s = min(self._settings.turn_answer_reserve_s, context.remaining_s / 4)
        return replace(context, deadline=context.deadline - reserve_s)

    def _warm(self, names: Sequence[str]) -> None:
        """Have skills loaded that the planner has named, while it writes on."""
        for name in names:
            try:
                task = asyncio.create_task(self._skills.warm(self._skills.resolve(name).name))
            except UnknownSkill:
                continue
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)

    async def _said(self, plan: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        """The planner's events; the last one is its whole output, and none comes after the turn's deadline.

        Raises:
            PlannerUnavailable, PromptTooLong, UnparsableOutput: see `planner.api.Planner`.
        """
        async with aclosing(self._planner.plan(plan, context)) as events:
            while True:
                try:
                    # Around each wait, not around the loop: the consumer's own time is no concern of it.
                    async with asyncio.timeout(context.remaining_s):
                        event = await anext(events, None)
                except TimeoutError:
                    raise PlannerUnavailable("The planner did not answer within the turn's deadline.") from None
                if event is None:
                    raise PlannerUnavailable("The planner's answer broke off. Try again.")
                yield event
                if isinstance(event, PlannerDone):
                    return

    def _log_step(self, context: CallContext, done: PlannerDone, started: float) -> None:
        self._log.info(
            "planner_step",
            request_id=context.request_id,
            actions=[action.API_name for action in done.output.actions],
            prompt_tokens=done.prompt_tokens,
            completion_tokens=done.completion_tokens,
            elapsed_ms=round(_ms_since(started)),
        )


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
