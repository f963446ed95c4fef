from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import pytest

from planner.api import PlannerDelta, PlannerDone, PlannerUnavailable, PlanRequest, PromptTooLong
from planner.client import PlannerClient
from planner.conversation import AssistantTurn, Conversation, UserTurn, last_exchanges
from planner.dialects import dialect
from planner.format import PlannerOutput, UnparsableOutput
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from services.core.errors import ImageNotFound
from tests.skill_examples import Echo

PICTURE = "img_" + "a" * 40
ANSWER = '{"thoughts":"t","actions":[],"value":"Hello you."}'
CALL = '{"thoughts":"t","actions":[{"API_name":"echo","API_params":{"text":"x"}}],"value":"Wait."}'


class ScriptedEngine:
    """Writes `text` in pieces of five characters; refuses prompts of more than `messages_max` messages."""

    def __init__(self, text: str, finish_reason: str = "stop", messages_max: int = 99, end: bool = True) -> None:
        self.text = text
        self.finish_reason = finish_reason
        self.messages_max = messages_max
        self.end = end
        self.asked: list[EngineRequest] = []

    async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        self.asked.append(request)
        if len(request.messages) > self.messages_max:
            yield EngineChunk(error="prompt_refused", message="too long")
            return
        for start in range(0, len(self.text), 5):
            yield EngineChunk(text=self.text[start : start + 5])
        if self.end:
            yield EngineChunk(final=True, prompt_tokens=7, completion_tokens=3, finish_reason=self.finish_reason)

    async def ready(self) -> bool:
        return True


def talk(questions: int) -> Conversation:
    turns: list[UserTurn | AssistantTurn] = []
    for number in range(questions):
        turns.append(UserTurn(text=f"question {number}", images=(PICTURE,) if number == 0 else ()))
        turns.append(AssistantTurn(output=PlannerOutput(value="answer")))
    return tuple(turns[:-1])


async def plan(engine: ScriptedEngine, questions: int = 1, may_act: bool = True) -> tuple[str, PlannerDone]:
    client = PlannerClient(engine, dialect("json"), "model")
    request = PlanRequest(talk(questions), [Echo.spec()], max_tokens=50, may_act=may_act)
    said, done = "", None
    async for event in client.plan(request, CallContext("req-1", "me", time.time() + 5)):
        if isinstance(event, PlannerDelta):
            said += event.text
        else:
            done = event
    assert done is not None
    return said, done


async def test_an_answer_is_streamed_whole() -> None:
    said, done = await plan(ScriptedEngine(ANSWER))
    assert said == done.output.value == "Hello you."
    assert (done.prompt_tokens, done.completion_tokens, done.cut) == (7, 3, False)


async def test_a_remark_beside_a_call_is_not_streamed() -> None:
    said, done = await plan(ScriptedEngine(CALL))
    assert said == ""
    assert done.output.actions[0].API_name == "echo"


async def test_a_planner_that_may_not_act_has_no_calls_in_its_schema_but_the_same_prompt() -> None:
    free, bound = ScriptedEngine(ANSWER), ScriptedEngine(ANSWER)
    await plan(free)
    await plan(bound, may_act=False)
    assert free.asked[0].messages == bound.asked[0].messages
    assert bound.asked[0].schema is not None
    assert bound.asked[0].schema["properties"]["actions"]["maxItems"] == 0


async def test_an_answer_that_was_cut_is_given_as_far_as_it_goes() -> None:
    said, done = await plan(ScriptedEngine(ANSWER[:-4], finish_reason="length"))
    assert said == done.output.value == "Hello yo"
    assert done.cut


@pytest.mark.parametrize("length", [8, 30])
async def test_a_reply_that_was_cut_before_the_answer_says_so_with_its_counts(length: int) -> None:
    said, done = await plan(ScriptedEngine(ANSWER[:length], finish_reason="length"))
    assert said == done.output.value == ""
    assert done.cut
    assert done.prompt_tokens == 7


async def test_a_call_that_was_cut_is_not_made() -> None:
    _, done = await plan(ScriptedEngine(CALL[:-25], finish_reason="length"))
    assert done.output.actions == ()


async def test_a_conversation_that_is_too_long_loses_its_oldest_turns_and_keeps_its_picture() -> None:
    engine = ScriptedEngine(ANSWER, messages_max=4)
    await plan(engine, questions=4)
    last = engine.asked[-1].messages
    assert len(last) == 4
    assert last[1]["content"] == [
        {"type": "image_ref", "image_ref": PICTURE},
        {"type": "text", "text": "question 2"},
    ]


async def test_a_single_question_that_is_too_long_is_refused() -> None:
    with pytest.raises(PromptTooLong):
        await plan(ScriptedEngine(ANSWER, messages_max=1))


async def test_text_in_no_known_form_is_handed_on() -> None:
    with pytest.raises(UnparsableOutput) as caught:
        await plan(ScriptedEngine("I would rather talk."))
    assert caught.value.text == "I would rather talk."


async def test_a_stream_that_breaks_off_is_unavailability() -> None:
    with pytest.raises(PlannerUnavailable, match="broke off"):
        await plan(ScriptedEngine(ANSWER, end=False))


async def test_a_reader_that_leaves_has_the_engine_stopped_before_it_goes_on() -> None:
    stopped = list[str]()

    class Endless(ScriptedEngine):
        async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
            try:
                yield EngineChunk(text=ANSWER[:-4])
                yield EngineChunk(text=" And on.")
            finally:
                stopped.append(request.request_id)

    client = PlannerClient(Endless(""), dialect("json"), "model")
    events = client.plan(PlanRequest(talk(1), [], max_tokens=50), CallContext("req-1", "me", time.time() + 5))
    assert isinstance(await anext(events), PlannerDelta)
    await events.aclose()
    assert stopped == ["req-1"]


async def test_a_missing_picture_is_the_callers_error() -> None:
    class NoPicture(ScriptedEngine):
        async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
            yield EngineChunk(error="image_not_found", message="gone")

    with pytest.raises(ImageNotFound):
        await plan(NoPicture(ANSWER))


def test_the_last_exchanges_keep_what_followed_them() -> None:
    assert [turn.kind for turn in last_exchanges(talk(3), 2)] == ["user", "assistant", "user"]
    assert last_exchanges(talk(2), 5) == talk(2)


async def test_instructions_stand_in_front_of_the_first_question_that_fits() -> None:
    engine = ScriptedEngine(ANSWER, messages_max=4)
    request = PlanRequest(talk(4), [Echo.spec()], max_tokens=50, instructions="Be brief.")
    async for _ in PlannerClient(engine, dialect("json"), "model").plan(
        request, CallContext("req-1", "me", time.time() + 5)
    ):
        pass
    users = [message for message in engine.asked[-1].messages if message["role"] == "user"]
    texts = [part["text"] for message in users for part in message["content"] if "text" in part]
    assert texts[0] == "Be brief.\n\nquestion 2"
