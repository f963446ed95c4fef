"""What is known so far in one turn, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gateway.orchestrator.calls import CallResult
from gateway.orchestrator.events import TurnRequest, Usage
from gateway.orchestrator.gallery import Gallery
from gateway.orchestrator.known import Known, call_in, made_from, newest, records_in
from gateway.orchestrator.question import question_text, with_findings
from gateway.orchestrator.repair import BROKEN_OFF, UNPARSABLE, Repairs, results_in_words, shortfalls, told_to_rewrite
from gateway.ports import CallContext
from gateway.settings import GatewaySettings
from gateway.state.models import Session, StepRecord, TurnRecord
from planner.api import PlannerDone
from planner.conversation import (
    AssistantTurn,
    Conversation,
    Observation,
    ObservationTurn,
    Turn,
    UserTurn,
    last_exchanges,
)
from planner.format import Action, PlannerOutput, UnparsableOutput
from services.core.spec import Symbol

_LASTING = frozenset({Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK})
"""A reference is about other pictures than its own, also about those that come later."""


class TurnState:
    """Grows with every planner call and every batch of skill results.

    Attributes:
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
        lasting = {symbol: handle for symbol, handle in session.symbols.items() if symbol in _LASTING}
        self._symbols = (lasting if request.images else session.symbols) | dict(request.symbols)
        self._marks = request.marks if request.images or request.marks.given() else session.marks
        self._gallery = Gallery.of(session).with_pictures(request.images, request.image_names)
        self._earlier = tuple(records_in(session))
        self.produced: list[str] = []
        self._planned = self._calls = 0
        self._acting = True
        self._broken_off = False
        self._dropped: list[str] = []
        self._repairs = Repairs()
        self._hint: tuple[Turn, ...] = ()
        self._unrun: Sequence[Action] = ()
        self._results: list[CallResult] = []
        self._plans: list[Sequence[CallResult]] = []
        history = last_exchanges(session.conversation, settings.history_turns_max)
        asked = UserTurn(text=question_text(request, self._gallery), images=request.images)
        self._conversation: Conversation = (*history, asked)
        self._new = len(self._conversation) - 1
        self.max_tokens = min(request.max_tokens or settings.answer_tokens_max, settings.answer_tokens_max)
        self.steps: list[StepRecord] = []
        self.usage = Usage()
        self.answer = ""
        self.actions: Sequence[Action] = ()
        self.last_output = PlannerOutput()
        self.over = False
        self.finish_reason = "stop"

    @property
    def conversation(self) -> Conversation:
        """What the planner sees next; a hint about a reply that could not be read is not kept longer than that."""
        return (*self._conversation, *self._hint)

    @property
    def symbols(self) -> dict[Symbol, str]:
        """What skills work on; the picture is the newest one, whether it was sent or made."""
        picture = {Symbol.IMAGE: self._images[-1]} if self._images else {}
        return self._symbols | picture

    @property
    def known(self) -> Known:
        """What the next plan may refer to."""
        ours = (result.record() | {"request_id": self._context.request_id} for result in self._results)
        records = (*self._earlier, *ours)
        latest = newest(records)
        results = {skill: record["result"] for skill, record in latest.items()}
        calls = {skill: call_in(record) for skill, record in latest.items()}
        return Known(self.symbols, results, calls, self._gallery, self._marks, made_from(records))

    @property
    def may_act(self) -> bool:
        """Whether the planner may call skills in its next step: the last step is for the answer."""
        steps_left = self._planned + 1 < self._settings.turn_steps_max
        return self._acting and steps_left and self._calls < self._settings.turn_calls_max

    @property
    def has_results(self) -> bool:
        return bool(self._results)

    def found_before(self, results: Sequence[CallResult], elapsed_ms: float) -> None:
        """What skills found in the picture before the planner was asked; those that could not are left out."""
        good = [result for result in results if result.error is None]
        self._results += good
        for result in good:
            self._keep(result)
        records = [result.record() for result in results]
        step = StepRecord(kind="all_tools", thoughts="", actions=[], value="", results=records, planner_ms=0.0)
        self.steps.append(step.model_copy(update={"skills_ms": elapsed_ms}))
        asked = self._conversation[-1]
        assert isinstance(asked, UserTurn)
        told = [self._named(result.observation) for result in good]
        text = with_findings(asked.text, told, self._settings.all_tools_chars_max)
        self._conversation = (*self._conversation[:-1], asked.model_copy(update={"text": text}))

    def said(self, text: str) -> None:
        self.answer += text

    def planned(self, done: PlannerDone, elapsed_ms: float) -> None:
        output = done.output
        calls_left = self._settings.turn_calls_max - self._calls if self.may_act else 0
        self._planned += 1
        self._hint = ()
        self.last_output = output
        self._took(done)
        actions = [action.model_dump(mode="json") for action in output.actions]
        self.steps.append(
            StepRecord(thoughts=output.thoughts, actions=actions, value=output.value, planner_ms=elapsed_ms)
        )
        self._conversation = (*self._conversation, AssistantTurn(output=output))
        self.actions, self._unrun = output.actions[:calls_left], output.actions[calls_left:]
        self._dropped += [action.API_name for action in self._unrun]
        self.over = not self.actions
        if done.cut:
            self.finish_reason = "length"

    def misspoke(self, error: UnparsableOutput, elapsed_ms: float) -> None:
        """What the planner wrote cannot be read: it may try once more, unless a part of it has been shown."""
        self.steps.append(StepRecord(thoughts="", actions=[], value=error.text, planner_ms=elapsed_ms))
        self._took(error)
        if self.answer or not self._repairs.allow(UNPARSABLE):
            self.end_here()
        else:
            self._hint = told_to_rewrite(error, self._request.text)

    def _took(self, call: PlannerDone | UnparsableOutput) -> None:
        self.usage = Usage(
            self.usage.prompt_tokens + call.prompt_tokens, self.usage.completion_tokens + call.completion_tokens
        )

    @property
    def can_end_here(self) -> bool:
        """Whether there is something to answer with when the planner cannot be asked (any more)."""
        return self.has_results or bool(self._hint)

    def end_here(self, *, cut: bool = False) -> None:
        """The planner cannot be asked again: the turn ends with what is known, and says so where it broke off."""
        self.over = True
        self._broken_off = bool(self.answer.strip())
        self.finish_reason = "length" if cut or self._broken_off else self.finish_reason

    def observed(self, results: Sequence[CallResult], elapsed_ms: float) -> None:
        self._calls += len(results)
        self._results += results
        self._plans.append(results)
        self._acting = self._repairs.allow_after(results) and self._acting
        self.actions = ()
        for result in results:
            self._keep(result)
        self.steps[-1].skills_ms = elapsed_ms
        self.steps[-1].results = [result.record() for result in results]
        told = [self._named(result.observation) for result in results]
        limit = {"error": f"Not run: a turn may make {self._settings.turn_calls_max} calls."}
        told += [Observation(skill=action.API_name, content=limit, failed=True) for action in self._unrun]
        self._conversation = (
            *self._conversation,
            ObservationTurn(observations=tuple(told), question=self._request.text),
        )

    def _keep(self, result: CallResult) -> None:
        made = result.outcome.pictures.values() if result.outcome else ()
        self.produced += [handle for handle in made if handle not in self.produced]
        for symbol, handle in result.produced.items():
            if symbol is Symbol.IMAGE:
                self._images = [*(ref for ref in self._images if ref != handle), handle]
                self._gallery = self._gallery.with_picture(handle)
            else:
                self._symbols[symbol] = handle

    def _named(self, observation: Observation) -> Observation:
        """The observation with pictures under the names by which a plan may call them."""
        names = {
            key: name
            for key, value in observation.content.items()
            if isinstance(value, str) and (name := self._gallery.name_of(value))
        }
        return observation.model_copy(update={"content": observation.content | names}) if names else observation

    def close(self) -> str:
        """What the answer still lacks: results in words where the planner gave none, and what could not be done."""
        said = self.answer
        if not said.strip():
            self.answer += results_in_words(self._results, cut=self.finish_reason == "length")
        last = self._conversation[-1]
        if not (isinstance(last, AssistantTurn) and last.output.is_answer and last.output.value.strip()):
            self._conversation = (*self._conversation, AssistantTurn(output=PlannerOutput(value=self.answer)))
        for note in (BROKEN_OFF if self._broken_off else "", shortfalls(self._plans, self._dropped)):
            if note:
                self.answer += f"\n\n{note}"
        return self.answer[len(said) :]

    def updated_session(self) -> Session:
        record = TurnRecord(
            question=self._request.text,
            images=list(self._request.images),
            image_names=list(self._request.image_names),
            marks=self._request.marks,
            symbols=dict(self._request.symbols),
            mode=self._request.mode,
            answer=self.answer,
            produced_images=self.produced,
            steps=self.steps,
            created=self._started,
            request_id=self._context.request_id,
        )
        return self._session.model_copy(
            update={
                "conversation": (*self._session.conversation, *self._conversation[self._new :]),
                "images": self._images,
                "pictures": list(self._gallery.pictures),
                "symbols": self._symbols,
                "marks": self._marks,
                "turns": [*self._session.turns, record],
            }
        )
