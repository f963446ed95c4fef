"""What is known so far in one turn, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gateway.orchestrator.calls import CallResult, in_plain_words
from gateway.orchestrator.events import TurnRequest, Usage
from gateway.orchestrator.gallery import Gallery
from gateway.orchestrator.known import Known, earlier_results
from gateway.ports import CallContext
from gateway.settings import GatewaySettings
from gateway.state.models import Session, StepRecord, TurnRecord
from planner.api import PlannerDone
from planner.conversation import AssistantTurn, Conversation, ObservationTurn, UserTurn, last_exchanges
from planner.format import Action, PlannerOutput, UnparsableOutput
from services.core.spec import Symbol

NOTHING_FOUND = "I could not work out an answer. Please ask in other words."
RESULTS_ONLY = "I could not put the results into words. They are:\n"


class TurnState:
    """Grows with every planner call and every batch of skill results.

    Attributes:
        conversation: what the planner sees next.
        produced: handles of the pictures that skills made, oldest first.
        actions: the skill calls that wait to be run; empty once they are.
        over: nothing more is to be done.
    """

    def __init__(self, request: TurnRequest, session: Session, context: CallContext, settings: GatewaySettings) -> None:
        self._request = request
        self._session = session
        self._context = context
        self._settings = settings
        self._started = time.time()
        # In the order of last use: a picture that is sent again is the newest one.
        self._images = [*(ref for ref in session.images if ref not in request.images), *request.images]
        # What was found in one picture is not about another.
        self._symbols = {} if request.images else dict(session.symbols)
        self._gallery = Gallery.of(session).with_pictures(request.images, request.image_names)
        self._earlier = earlier_results(session)
        self.produced: list[str] = []
        self._calls = 0
        self._results: list[CallResult] = []
        history = last_exchanges(session.conversation, settings.history_turns_max)
        self.conversation: Conversation = (
            *history,
            UserTurn(text=request.text, images=request.images),
        )
        self._new = len(self.conversation) - 1
        self.max_tokens = min(request.max_tokens or settings.answer_tokens_max, settings.answer_tokens_max)
        self.steps: list[StepRecord] = []
        self.usage = Usage()
        self.answer = ""
        self.actions: Sequence[Action] = ()
        self.last_output = PlannerOutput()
        self.over = False
        self.finish_reason = "stop"

    @property
    def symbols(self) -> dict[Symbol, str]:
        """What skills work on; the picture is the newest one, whether it was sent or made."""
        picture = {Symbol.IMAGE: self._images[-1]} if self._images else {}
        return self._symbols | picture

    @property
    def known(self) -> Known:
        """What the next plan may refer to."""
        ours = {result.skill: result.result for result in self._results if result.result is not None}
        return Known(self.symbols, self._earlier | ours, self._gallery, self._session.marks)

    @property
    def may_act(self) -> bool:
        """Whether the planner may call skills in its next step: the last step is for the answer."""
        return len(self.steps) + 1 < self._settings.turn_steps_max and self._calls < self._settings.turn_calls_max

    def said(self, text: str) -> None:
        self.answer += text

    def planned(self, done: PlannerDone, elapsed_ms: float) -> None:
        output = done.output
        calls_left = self._settings.turn_calls_max - self._calls if self.may_act else 0
        self.last_output = output
        self.usage = Usage(
            self.usage.prompt_tokens + done.prompt_tokens, self.usage.completion_tokens + done.completion_tokens
        )
        actions = [action.model_dump(mode="json") for action in output.actions]
        self.steps.append(
            StepRecord(thoughts=output.thoughts, actions=actions, value=output.value, planner_ms=elapsed_ms)
        )
        self.conversation = (*self.conversation, AssistantTurn(output=output))
        self.actions = output.actions[:calls_left]
        self.over = not self.actions
        if done.cut:
            self.finish_reason = "length"

    def misspoke(self, error: UnparsableOutput, elapsed_ms: float) -> None:
        """What the planner wrote cannot be read: the turn ends with what is known."""
        self.steps.append(StepRecord(thoughts="", actions=[], value=error.text, planner_ms=elapsed_ms))
        self.over = True

    @property
    def has_results(self) -> bool:
        return bool(self._results)

    def outgrown(self) -> None:
        """The results are too long for the planner to read: the turn ends with them as they are."""
        self.over = True
        self.finish_reason = "length"

    def observed(self, results: Sequence[CallResult], elapsed_ms: float) -> None:
        self._calls += len(results)
        self._results += results
        self.actions = ()
        for result in results:
            self._keep(result)
        self.steps[-1].skills_ms = elapsed_ms
        self.steps[-1].results = [result.record() for result in results]
        turn = ObservationTurn(
            observations=tuple(result.observation for result in results), question=self._request.text
        )
        self.conversation = (*self.conversation, turn)

    def _keep(self, result: CallResult) -> None:
        made = result.outcome.pictures.values() if result.outcome else ()
        self.produced += [handle for handle in made if handle not in self.produced]
        for symbol, handle in result.produced.items():
            if symbol is Symbol.IMAGE:
                self._images = [*(ref for ref in self._images if ref != handle), handle]
                self._gallery = self._gallery.with_picture(handle)
            else:
                self._symbols[symbol] = handle

    def fallback(self) -> str:
        """An answer where the planner gave none: the results in plain words. Empty when it answered."""
        if self.answer.strip():
            return ""
        known = [in_plain_words(result) for result in self._results]
        self.answer = RESULTS_ONLY + "\n".join(known) if known else NOTHING_FOUND
        self.conversation = (*self.conversation, AssistantTurn(output=PlannerOutput(value=self.answer)))
        return self.answer

    def updated_session(self) -> Session:
        record = TurnRecord(
            question=self._request.text,
            images=list(self._request.images),
            answer=self.answer,
            produced_images=self.produced,
            steps=self.steps,
            created=self._started,
            request_id=self._context.request_id,
        )
        return self._session.model_copy(
            update={
                "conversation": (*self._session.conversation, *self.conversation[self._new :]),
                "images": self._images,
                "pictures": list(self._gallery.pictures),
                "symbols": self._symbols,
                "turns": [*self._session.turns, record],
            }
        )
