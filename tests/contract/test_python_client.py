"""The Python client, blocking and not, against a real gateway: one set of tests for both."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gateway_fakes import picture
from PIL import Image

import llava_plus
from llava_plus import NO_RETRIES, AsyncClient, Client, Delta, Finished, Named, Progress, Step
from planner.api import PlannerUnavailable
from services.core.errors import SkillFailed, SkillOverloaded
from services.core.spec import Symbol
from tests.contract.conftest import RunningGateway

RED = picture("JPEG", (64, 48))


class Awaited:
    """Calls an async client's methods from a test that does not await."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            outcome = found(*given, **named)
            if asyncio.iscoroutine(outcome):
                return self._runner.run(outcome)
            return Awaited(outcome, self._runner)

        return call


def events_of(stream: Any) -> list[llava_plus.Event]:
    """All events of a stream of either client."""
    if not isinstance(stream, Awaited):
        with stream:
            return list(stream)

    async def drained() -> list[llava_plus.Event]:
        async with stream._target as running:
            return [event async for event in running]

    return stream._runner.run(drained())


Connect = Callable[..., Any]


@pytest.fixture(params=["blocking", "async"])
def connect(request: pytest.FixtureRequest, gateway: RunningGateway) -> Iterator[Connect]:
    """Makes clients of the running gateway."""
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def make(**options: Any) -> Any:
            if request.param == "blocking":
                made.append(Client(gateway.url, timeout_s=30.0, **options))
            else:
                made.append(Awaited(AsyncClient(gateway.url, timeout_s=30.0, **options), runner))
            return made[-1]

        yield make
        for one in made:
            one.close() if isinstance(one, Client) else one.aclose()


@pytest.fixture
def client(connect: Connect) -> Any:
    return connect(retries=NO_RETRIES)


def test_a_question_with_a_picture_is_answered_through_a_skill(client: Any) -> None:
    answer = client.ask("Please read the sign.", RED)
    assert answer.text == "It says STOP."
    assert answer.finish_reason == "stop"
    assert answer.usage.total_tokens == 30
    assert len(answer.images) == 1
    assert answer.steps is None
    assert answer.request_id


@pytest.mark.parametrize("form", ["path", "text path", "bytes", "pil", "handle", "uploaded", "named"])
def test_a_picture_is_taken_in_every_form(client: Any, form: str, tmp_path: Path) -> None:
    path = tmp_path / "red.jpg"
    path.write_bytes(RED)
    info = client.upload(path)
    given = {
        "path": path,
        "text path": str(path),
        "bytes": RED,
        "pil": Image.open(io.BytesIO(RED)),
        "handle": info.id,
        "uploaded": info,
        "named": Named(path, "before"),
    }[form]
    answer = client.ask("What is it?", given)
    assert answer.text.startswith("I see 1 picture(s).")
    if form != "pil":
        assert answer.images == [info.id], "the same bytes have the same handle"


def test_a_path_that_is_none_is_told_before_anything_is_sent(client: Any) -> None:
    with pytest.raises(llava_plus.PictureError, match=r"nowhere\.png: No such file"):
        client.ask("What is it?", "nowhere.png")
    with pytest.raises(llava_plus.PictureError, match="null byte"):
        client.upload("a\0b")


def test_a_conversation_keeps_its_session_and_its_pictures(client: Any) -> None:
    talk = client.conversation(instructions="Be brief.")
    assert talk.id is None
    first = talk.ask("What is it?", RED)
    second = talk.ask("And now?")
    assert first.session_id == second.session_id == talk.id
    assert second.text.startswith("I see 1 picture(s).")

    again = client.conversation(first.session_id)
    assert again.ask("Still?").text.startswith("I see 1 picture(s).")
    assert [turn.question for turn in client.session(talk.id).turns] == ["What is it?", "And now?", "Still?"]


def test_a_stream_gives_pieces_then_steps_then_the_whole(client: Any) -> None:
    talk = client.conversation()
    events = events_of(talk.stream("Please read the sign.", RED, debug=True))
    *pieces, read, said, last = [event for event in events if not isinstance(event, Progress)]
    assert [piece.text for piece in pieces if isinstance(piece, Delta)] == ["It says ", "STOP", "."]
    assert isinstance(read, Step)
    assert (read.thoughts, read.results[0].skill) == ("I need the text.", "reader")
    assert isinstance(said, Step)
    assert isinstance(last, Finished)
    assert last.answer.text == "It says STOP."
    assert last.answer.usage is not None
    assert last.answer.usage.total_tokens == 30
    assert talk.id == last.answer.session_id


def test_leaving_a_stream_stops_the_planner(gateway: RunningGateway) -> None:
    gateway.planner.cancelled.clear()
    with Client(gateway.url) as client, client.stream("hang") as stream:
        assert next(iter(stream)) == Delta("Well")
    assert gateway.planner.cancelled.wait(timeout=10)


async def test_leaving_an_async_stream_stops_the_planner(gateway: RunningGateway) -> None:
    gateway.planner.cancelled.clear()
    async with AsyncClient(gateway.url) as client, client.stream("hang") as stream:
        async for piece in stream.text():
            assert piece == "Well"
            break
    assert await asyncio.to_thread(gateway.planner.cancelled.wait, 10)


def test_marks_reach_the_turn(client: Any) -> None:
    inside = np.zeros((48, 64), bool)
    inside[:, :10] = True
    answer = client.ask(
        "What is here?",
        RED,
        points=[(0.5, 0.5), (0.1, 0.1)],
        point_labels=[1, 0],
        boxes=[(0.0, 0.0, 0.5, 0.5)],
        mask=inside,
        reference=(RED, inside),
        debug=True,
    )
    assert answer.steps is not None
    with pytest.raises(llava_plus.BadRequest) as refused:
        client.ask("Where?", RED, points=[(1.5, 0.5)])
    assert refused.value.param is not None
    assert refused.value.param.startswith("messages.0.content.2.points")


def test_tools_are_listed_and_found_by_alias(client: Any) -> None:
    assert [tool.name for tool in client.tools()] == ["painter+mask", "reader"]
    assert client.tool("ocr").name == "reader"
    assert client.tool("ocr").arguments["properties"]["languages"]["maxItems"] == 2
    with pytest.raises(llava_plus.NotFound, match="Known tools: painter"):
        client.tool("nothing")


def test_a_tool_is_called_by_name(client: Any, gateway: RunningGateway) -> None:
    found = client.call("reader", RED, languages=["de"])
    assert (found.tool, found.labels, found.checkpoint) == ("reader", ["STOP"], "fake/weights")
    assert found.images["image"].startswith("img_")
    assert found.timing.batch_size == 2
    assert gateway.skills.calls[-1][1] == {"languages": ["de"]}


def test_a_tool_is_called_on_several_pictures_at_once(client: Any) -> None:
    gone = "img_" + "0" * 40
    read, lost = client.call_each("reader", [RED, gone], languages=["de"])
    assert read.labels == ["STOP"]
    assert isinstance(lost, llava_plus.NotFound)
    assert (lost.status, lost.code) == (404, "image_not_found")


def test_what_a_tool_needs_besides_the_picture_goes_under_its_symbol(client: Any, gateway: RunningGateway) -> None:
    client.call("painter+mask", RED, inputs={"mask": np.ones((48, 64), bool)}, prompt="a lake")
    _, args, images, _ = gateway.skills.calls[-1]
    assert args == {"prompt": "a lake"}
    assert set(images) == {Symbol.IMAGE, Symbol.MASK}
    white = client.image(images[Symbol.MASK])
    assert (white.size, white.getpixel((3, 3))) == ((64, 48), 255)


def test_bad_arguments_name_the_argument(client: Any) -> None:
    with pytest.raises(llava_plus.BadRequest) as refused:
        client.call("reader", RED, languages=["a", "b", "c"])
    assert (refused.value.status, refused.value.code) == (422, "invalid_request")
    assert refused.value.param == "arguments.languages"
    assert refused.value.request_id


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        (SkillFailed("inner text"), llava_plus.ServerFailed),
        (SkillOverloaded("full"), llava_plus.TooManyRequests),
    ],
)
def test_a_skills_failure_is_an_error_of_its_kind(
    client: Any, gateway: RunningGateway, fails: Exception, expected: type[llava_plus.ApiError]
) -> None:
    gateway.skills.fails = fails
    try:
        with pytest.raises(expected) as failed:
            client.call("reader", RED)
    finally:
        gateway.skills.fails = None
    assert "inner text" not in str(failed.value)
    assert failed.value.request_id


def test_a_planner_that_is_away_is_asked_again_and_then_told(connect: Connect, gateway: RunningGateway) -> None:
    gateway.planner.fails = PlannerUnavailable("The planner is starting.", retry_after_s=60.0)
    try:
        with pytest.raises(llava_plus.Unavailable) as away:
            connect().ask("Hi")
    finally:
        gateway.planner.fails = None
    assert away.value.code == "planner_unavailable"
    assert away.value.retry_after_s == 60.0


def test_pictures_come_back_as_they_went(client: Any) -> None:
    info = client.upload(RED)
    assert (info.width, info.height, info.media_type) == (64, 48, "image/jpeg")
    assert client.image_bytes(info.id) == RED
    assert Image.open(io.BytesIO(client.image_bytes(info.id, "thumbnail"))).format == "JPEG"
    assert client.image_info(info.id).lineage is None
    with pytest.raises(llava_plus.NotFound):
        client.image("img_" + "0" * 40)


def test_what_is_no_picture_is_refused(client: Any) -> None:
    with pytest.raises(llava_plus.BadRequest) as refused:
        client.upload(b"no picture")
    assert refused.value.code == "invalid_image"


def test_sessions_are_listed_read_replayed_and_forgotten(client: Any) -> None:
    answer = client.ask("Please read the sign.", RED, points=[[0.5, 0.5]], mask=RED)
    assert client.sessions(limit=1).data[0].id == answer.session_id
    (turn,) = client.session(answer.session_id, debug=True).turns
    assert turn.steps[0].results[0].labels == ["STOP"]
    assert (turn.marks.points, turn.marks.point_labels) == ([[0.5, 0.5]], [1])
    assert str(turn.marks.mask).startswith("img_")
    again = client.replay_session(answer.session_id)
    assert (again.replay_of, again.same_answers) == (answer.session_id, [True])
    for one in (answer.session_id, again.id):
        client.delete_session(one)
        with pytest.raises(llava_plus.NotFound):
            client.session(one)


def test_a_message_sent_again_with_its_key_is_run_once(client: Any, gateway: RunningGateway) -> None:
    key = f"key-{id(client)}"
    first = client.ask("Please read the sign.", RED, idempotency_key=key)
    calls = len(gateway.skills.calls)
    second = client.ask("Please read the sign.", RED, idempotency_key=key)
    assert (first.repeated, second.repeated) == (False, True)
    assert first.id == second.id
    assert len(gateway.skills.calls) == calls


def test_readiness_is_an_answer_also_when_it_is_no(client: Any, gateway: RunningGateway) -> None:
    assert client.readiness().ready
    gateway.planner.available = False
    try:
        answer = client.readiness()
    finally:
        gateway.planner.available = True
    assert (answer.ready, answer.planner, answer.state) == (False, False, True)


def test_a_call_runs_as_a_job(client: Any) -> None:
    job = client.submit("reader", RED, languages=["de"])
    seen: list[llava_plus.Job] = []
    found = client.wait(job.id, seen.append)
    assert isinstance(found, llava_plus.ToolResult)
    assert found.labels == ["STOP"]
    assert (seen[-1].id, seen[-1].status, seen[-1].tool) == (job.id, "succeeded", "reader")
    assert client.job(job.id).over
    assert client.job_result(job.id).labels == ["STOP"]
    assert job.id in [one.id for one in client.jobs().data]


def test_a_question_runs_as_a_job(client: Any) -> None:
    answer = client.wait(client.submit_question("Please read the sign.", RED).id)
    assert isinstance(answer, llava_plus.Answer)
    assert answer.text == "It says STOP."
    assert client.conversation(answer.session_id).ask("Still?").text.startswith("I see 1 picture(s).")


def test_a_jobs_failure_is_raised_when_its_result_is_asked_for(client: Any, gateway: RunningGateway) -> None:
    with pytest.raises(llava_plus.BadRequest):
        client.submit("reader", RED, languages=["a", "b", "c"])
    gateway.skills.fails = SkillFailed("inner text")
    try:
        with pytest.raises(llava_plus.ServerFailed):
            client.wait(client.submit("reader", RED).id)
    finally:
        gateway.skills.fails = None


def test_a_job_is_cancelled(client: Any, gateway: RunningGateway) -> None:
    gateway.planner.cancelled.clear()
    job = client.submit_question("hang")
    assert client.cancel_job(job.id).id == job.id
    with pytest.raises(llava_plus.Conflict, match="cancelled"):
        client.wait(job.id)
    with pytest.raises(llava_plus.NotFound):
        client.job("job_" + "0" * 32)


def test_what_happens_is_told_while_an_answer_is_awaited(client: Any) -> None:
    events = events_of(client.stream("Please read the sign.", RED, debug=True))
    told = [(event.kind, list(event.skills)) for event in events if isinstance(event, Progress)]
    assert told == [("planned", ["reader"]), ("started", ["reader"]), ("finished", ["reader"])]


def test_what_was_found_is_drawn_where_it_is_asked_for(client: Any) -> None:
    assert client.call("reader", RED, overlay=True).render is None, "text alone cannot be drawn"
