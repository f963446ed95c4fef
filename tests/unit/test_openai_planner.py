"""A planner of one's own: a model behind OpenAI's protocol, with native tool calls, runs whole turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.orchestrator.events import AnswerDelta
from gateway.planner_tools import PlannerTools
from gateway.settings import GatewaySettings
from gateway.wiring import parts_around
from planner.api import PlannerCalls, PlannerDone, PlannerUnavailable, PlanRequest, PromptTooLong
from planner.client import PlannerClient
from planner.conversation import UserTurn
from planner.dialects import dialect
from planner.openai_engine import OpenAIEngine
from services.core.context import CallContext
from services.core.images import DATA_KEY
from services.core.spec import Symbol
from tests.gateway_fakes import FakeSkills, picture
from tests.openai_server import Endpoint, calls, serving, text
from tests.orchestration_fakes import BOXES, SENT, SPECS, Skills, run_turn
from tests.skill_examples import Doubler

FIND_AND_CUT = calls(("find", '{"caption": "cat"}'), ("cut", '{"boxes": "$1.boxes"}'), content="Let me look.")


class Pictures:
    async def get(self, name: str) -> bytes | None:
        return picture() if name == DATA_KEY.format(SENT) else None


@asynccontextmanager
async def planner(*replies: Any, spoken: str = "openai_tools", **fields: Any) -> AsyncIterator[tuple[Any, Endpoint]]:
    async with serving(Endpoint(list(replies), **fields)) as endpoint:
        engine = OpenAIEngine(endpoint.url, "gpt", Pictures(), key="secret")
        try:
            yield PlannerClient(engine, dialect(spoken), "gpt"), endpoint
        finally:
            await engine.close()


async def test_a_turn_with_tool_calls_that_refer_to_each_other() -> None:
    skills = Skills()
    async with planner(FIND_AND_CUT, text("Two ", "cats.")) as (client, endpoint):
        events, finished = await run_turn(client, skills)
    assert endpoint.problems == []
    assert skills.calls[1].args == {"boxes": BOXES}
    assert finished.answer == "Two cats."
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (22, 10)
    assert "".join(event.text for event in events if isinstance(event, AnswerDelta)) == "Two cats."
    first, second = endpoint.asked
    assert endpoint.keys[0] == "Bearer secret"
    assert first["tool_choice"] == "auto"
    assert {tool["function"]["name"] for tool in first["tools"]} == {spec.name for spec in SPECS}
    shown = first["messages"][1]["content"][0]
    assert shown["image_url"]["url"].startswith("data:image/png;base64,")
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert '"phrases":["cat","dog"]' in second["messages"][3]["content"]


async def test_results_of_earlier_turns_stay_in_the_protocols_form() -> None:
    async with planner(FIND_AND_CUT, text("Two."), text("Yes.")) as (client, endpoint):
        _, first = await run_turn(client, Skills())
        await run_turn(client, Skills(), images=(), session=first.session)
    assert endpoint.problems == []
    assert [message["role"] for message in endpoint.asked[-1]["messages"]][-2:] == ["assistant", "user"]


@pytest.mark.parametrize("arguments", ['{"caption": ', "[]", "nonsense", '{"caption": 3}', ""])
async def test_arguments_that_cannot_be_read_are_told_and_tried_again(arguments: str) -> None:
    skills = Skills()
    async with planner(calls(("find", arguments)), calls(("find", '{"caption":"cat"}')), text("ok")) as (
        client,
        endpoint,
    ):
        _, finished = await run_turn(client, skills)
    assert endpoint.problems == []
    assert [call.args for call in skills.calls] == [{"caption": "cat"}]
    assert finished.answer == "ok"


async def test_the_last_step_may_call_nothing_and_is_streamed() -> None:
    async with planner(FIND_AND_CUT, text("Two ", "cats.")) as (client, endpoint):
        events, _ = await run_turn(client, Skills(), limits={"turn_steps_max": 2})
    assert endpoint.asked[1]["tool_choice"] == "none"
    assert [event.text for event in events if isinstance(event, AnswerDelta)] == ["Two ", "cats."]


async def test_a_remark_before_a_call_is_not_shown_as_an_answer() -> None:
    async with planner(FIND_AND_CUT, text("Done.")) as (client, _):
        events, _ = await run_turn(client, Skills())
    assert "".join(event.text for event in events if isinstance(event, AnswerDelta)) == "Done."


async def test_names_are_known_before_the_arguments_are_complete() -> None:
    async with planner(FIND_AND_CUT) as (client, _):
        request = PlanRequest((UserTurn(text="?"),), SPECS, max_tokens=50)
        events = [event async for event in client.plan(request, CallContext("r", "me", time.time() + 10))]
    assert [event.names for event in events if isinstance(event, PlannerCalls)] == [("find",), ("cut",)]
    assert isinstance(events[-1], PlannerDone)


async def test_names_that_the_protocol_does_not_take_are_written_in_another_way() -> None:
    spec, spoken = Doubler.spec(), dialect("openai_tools")
    (tool,) = spoken.tools([spec]) or ()
    assert tool["function"]["name"] == "echo__and__sketcher"
    said = spoken.parse('{"actions":[{"API_name":"echo__and__sketcher","API_params":{"text":"x"}}],"value":""}')
    assert said.actions[0].API_name == spec.name
    schema = tool["function"]["parameters"]
    assert str(Symbol.IMAGE) in schema["properties"]


async def test_an_answer_that_was_cut_is_given_as_far_as_it_goes() -> None:
    async with planner(text("Half an"), finish="length") as (client, _):
        _, finished = await run_turn(client, Skills())
    assert (finished.answer, finished.finish_reason) == ("Half an", "length")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((400, {"error": {"code": "context_length_exceeded", "message": "secret"}}), PromptTooLong),
        ((401, {"error": {"message": "secret"}}), PlannerUnavailable),
        ((500, {"error": {"message": "secret"}}), PlannerUnavailable),
    ],
)
async def test_what_the_endpoint_refuses_is_an_error_without_its_words(reply: Any, error: type[Exception]) -> None:
    async with planner(reply) as (client, _):
        with pytest.raises(error) as raised:
            await run_turn(client, Skills())
    assert "secret" not in str(raised.value)


async def test_an_endpoint_that_is_not_there_is_not_available() -> None:
    engine = OpenAIEngine("http://127.0.0.1:9/v1", "gpt", Pictures())
    client = PlannerClient(engine, dialect("openai_tools"), "gpt")
    assert not await client.ready()
    with pytest.raises(PlannerUnavailable):
        await run_turn(client, Skills())
    await engine.close()


async def test_a_turn_that_is_cancelled_hangs_up_on_the_endpoint() -> None:
    async with planner("hang") as (client, endpoint):
        task = asyncio.create_task(run_turn(client, Skills()))
        async with asyncio.timeout(10):
            while not endpoint.asked:  # noqa: ASYNC110 - the endpoint sets no event
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            await endpoint.left.wait()


async def test_an_endpoint_may_also_be_asked_in_the_json_dialect() -> None:
    answer = '{"thoughts":"","actions":[],"value":"A cat."}'
    async with planner(text(answer[:20], answer[20:]), spoken="json") as (client, endpoint):
        _, finished = await run_turn(client, Skills())
    assert finished.answer == "A cat."
    assert endpoint.asked[0]["response_format"]["type"] == "json_schema"
    assert "tools" not in endpoint.asked[0]


async def test_settings_choose_the_endpoint() -> None:
    settings = GatewaySettings(planner_url="http://127.0.0.1:9/v1", planner_model="gpt", planner_api_key="secret")
    profiles = PlannerTools(told=frozenset())
    parts = parts_around(settings, lambda _: FakeSkills(), None, planner_tools=profiles)
    assert parts.planner.model == "gpt"
    assert parts.planner_tools.use("reader") == "described", "the profile's planner is not the one that is asked"
    assert "secret" not in repr(settings)
    await parts.close()
    with pytest.raises(ValueError, match="planner_url"):
        parts_around(GatewaySettings(), lambda _: FakeSkills(), None)


class PicturesAway:
    async def get(self, name: str) -> bytes | None:
        raise RedisConnectionError("no route")


async def test_a_store_that_does_not_answer_is_no_fault_of_the_message() -> None:
    engine = OpenAIEngine("http://127.0.0.1:9/v1", "gpt", PicturesAway())
    client = PlannerClient(engine, dialect("openai_tools"), "gpt")
    with pytest.raises(PlannerUnavailable, match="store of pictures"):
        await run_turn(client, Skills())
    await engine.close()
