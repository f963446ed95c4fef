"""The gRPC interface through a real channel: what clients generate from the `.proto`, and what reflection gives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateway_fakes import FakePlanner, FakeSkills, picture
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from redis.asyncio import Redis

from gateway.parts import ANONYMOUS
from gateway.settings import GatewaySettings
from gateway.state.sessions import RedisSessionStore
from llava_plus.v1 import platform_pb2 as pb
from llava_plus.v1.platform_pb2_grpc import PlatformStub
from planner.api import PlannerUnavailable
from services.core.errors import SkillError, SkillFailed, SkillOverloaded, SkillUnavailable
from services.core.spec import Symbol
from tests.contract.conftest import served
from tests.contract.vision_fakes import StoredSkills, ToldPlanner

ROOT = Path(__file__).parents[2]
UNKNOWN = "img_" + "0" * 40


@pytest.fixture(scope="module")
def channel(gateway: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def platform(channel: grpc.Channel) -> Any:
    return PlatformStub(channel)


@pytest.fixture
def skills(gateway: Any) -> Iterator[FakeSkills]:
    gateway.skills.calls.clear()
    yield gateway.skills
    gateway.skills.fails = None
    gateway.skills.available = True


@pytest.fixture
def planner(gateway: Any) -> Iterator[FakePlanner]:
    gateway.planner.cancelled.clear()
    yield gateway.planner
    gateway.planner.fails = None


def pieces(data: bytes, size: int = 100) -> Iterator[pb.UploadImageRequest]:
    for start in range(0, len(data), size):
        yield pb.UploadImageRequest(data=data[start : start + size])


def metadata_of(error: grpc.RpcError) -> dict[str, str]:
    return dict(error.trailing_metadata())


def chat(platform: Any, text: str, *pictures: pb.Picture, **fields: Any) -> list[pb.ChatEvent]:
    named = [pb.NamedPicture(picture=one) for one in pictures]
    return list(platform.Chat(pb.ChatRequest(text=text, pictures=named, **fields), timeout=30))


def said(events: list[pb.ChatEvent]) -> str:
    return "".join(event.delta.text for event in events)


def test_the_generated_modules_are_those_of_the_proto(tmp_path: Path) -> None:
    source = "llava_plus/v1/platform.proto"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", source], cwd=ROOT, check=True
    )
    fresh = (tmp_path / source).with_name("platform_pb2.py")
    assert fresh.read_text() == Path(pb.__file__).read_text(), "the .proto has changed: run `pip install -e .` again"


def test_a_question_with_a_picture_is_answered_through_a_skill(platform: Any, skills: FakeSkills) -> None:
    events = chat(platform, "Please read the sign.", pb.Picture(data=picture()))
    assert said(events) == "It says STOP."
    finished = events[-1].finished
    assert finished.answer == "It says STOP."
    assert finished.finish_reason == "stop"
    assert finished.model == "fake-planner"
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (20, 10)
    assert finished.images[0].startswith("img_")
    assert {event.WhichOneof("event") for event in events} == {"delta", "finished"}
    assert not finished.steps


def test_with_debug_the_steps_come_as_they_happen_and_again_at_the_end(platform: Any, skills: FakeSkills) -> None:
    events = chat(platform, "Please read the sign.", pb.Picture(data=picture()), debug=True)
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[:3] == ["step_planned", "skill_started", "skill_finished"]
    assert events[0].step_planned.thoughts == "I need the text."
    assert events[0].step_planned.actions[0].api_name == "reader"
    assert json_format.MessageToDict(events[2].skill_finished.result) == {"texts": ["STOP"]}
    assert [step["thoughts"] for step in events[-1].finished.steps] == ["I need the text.", "I can answer."]


def test_a_conversation_goes_on_by_its_session_and_keeps_its_pictures(platform: Any) -> None:
    first = chat(platform, "What is it?", pb.Picture(data=picture()), instructions="Be brief.")[-1].finished
    second = chat(platform, "And now?", session_id=first.session_id)[-1].finished
    assert second.session_id == first.session_id
    assert second.answer.startswith("I see 1 picture(s).")


async def test_marks_masks_and_names_reach_the_turn(platform: Any, redis_url: str) -> None:
    request = pb.ChatRequest(
        text="What is it?",
        pictures=[pb.NamedPicture(picture=pb.Picture(data=picture()), name="sign")],
        points=[pb.Point(x=0.5, y=0.25), pb.Point(x=0.75, y=0.25, outside=True)],
        boxes=[pb.Box(x0=0.0, y0=0.25, x1=0.5, y1=0.5)],
        mask=pb.Picture(mask=pb.MaskRle(height=2, width=2, counts="4")),
        reference=pb.Reference(image=pb.Picture(data=picture(color="blue")), mask=pb.Picture(data=picture())),
    )
    finished = list(platform.Chat(request, timeout=30))[-1].finished
    async with Redis.from_url(redis_url) as redis:
        stored = await RedisSessionStore(redis, GatewaySettings()).get(finished.session_id, owner=ANONYMOUS)
    turn = stored.turns[0]
    assert turn.image_names == ["sign"]
    assert turn.marks.points == [(0.5, 0.25), (0.75, 0.25)]
    assert turn.marks.point_labels == [1, 0]
    assert turn.marks.boxes == [(0.0, 0.25, 0.5, 0.5)]
    assert set(turn.symbols) == {Symbol.MASK, Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK}


def test_a_message_that_is_sent_again_with_its_key_is_answered_once(platform: Any) -> None:
    first = chat(platform, "Once?", idempotency_key="grpc-1")[-1].finished
    again = chat(platform, "Once?", idempotency_key="grpc-1")
    assert len(again) == 1
    assert again[0].finished.replayed
    assert (again[0].finished.answer, again[0].finished.session_id) == (first.answer, first.session_id)


def test_cancelling_a_chat_stops_the_planner(platform: Any, planner: FakePlanner) -> None:
    call = platform.Chat(pb.ChatRequest(text="hang"))
    assert next(call).delta.text == "Well"
    call.cancel()
    assert planner.cancelled.wait(timeout=10)


def test_a_deadline_that_passes_stops_the_planner(platform: Any, planner: FakePlanner) -> None:
    with pytest.raises(grpc.RpcError) as late:
        list(platform.Chat(pb.ChatRequest(text="hang"), timeout=0.5))
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert planner.cancelled.wait(timeout=10)


def test_a_picture_that_was_uploaded_in_pieces_is_worked_on_by_its_handle(platform: Any, skills: FakeSkills) -> None:
    stored = platform.UploadImage(pieces(picture()))
    assert (stored.width, stored.height, stored.media_type) == (32, 24, "image/png")
    request = pb.CallToolRequest(name="ocr", images={"image": pb.Picture(id=stored.id)})
    request.arguments.update({"languages": ["en"]})
    answer, call = platform.CallTool.with_call(request, timeout=30)
    assert answer.tool == "reader"
    assert json_format.MessageToDict(answer.result) == {"texts": ["STOP"]}
    assert dict(answer.images) == {"image": stored.id}
    assert (answer.checkpoint, answer.timing.batch_size) == ("fake/weights", 2)
    assert answer.request_id == dict(call.initial_metadata())["x-request-id"]
    name, args, images, context = skills.calls[-1]
    assert (name, args, images) == ("reader", {"languages": ["en"]}, {Symbol.IMAGE: stored.id})
    assert context.request_id == answer.request_id


def test_the_clients_deadline_id_and_wish_for_fresh_results_reach_the_skill(platform: Any, skills: FakeSkills) -> None:
    request = pb.CallToolRequest(name="reader", images={"image": pb.Picture(data=picture())})
    platform.CallTool(request, timeout=5, metadata=(("x-request-id", "mine"), ("cache-control", "no-cache")))
    context = skills.calls[-1][3]
    assert context.request_id == "mine"
    assert context.fresh
    assert context.remaining_s < 6


def test_numbers_without_a_fraction_arrive_as_integers(platform: Any, skills: FakeSkills) -> None:
    images = {"image": pb.Picture(data=picture()), "mask": pb.Picture(mask=pb.MaskRle(height=2, width=2, counts="4"))}
    request = pb.CallToolRequest(name="painter+mask", images=images)
    request.arguments.update({"prompt": "sky", "steps": 3})
    platform.CallTool(request, timeout=30)
    assert skills.calls[-1][1] == {"prompt": "sky", "steps": 3}
    assert isinstance(skills.calls[-1][1]["steps"], int)


def test_what_a_tool_found_is_drawn_over_the_picture_on_request(redis_url: str) -> None:
    skills = StoredSkills()
    with (
        served(redis_url, skills, ToldPlanner(), skills_with=skills.with_store) as (_, target),
        grpc.insecure_channel(target) as channel,
    ):
        platform = PlatformStub(channel)
        request = pb.CallToolRequest(name="find", images={"image": pb.Picture(data=picture())}, overlay=True)
        request.arguments.update({"caption": "cat . dog"})
        drawn = platform.CallTool(request, timeout=30)
        chunks = platform.GetImage(pb.GetImageRequest(id=drawn.overlay), timeout=30)
        assert b"".join(chunk.data for chunk in chunks).startswith(b"\x89PNG")
        never = pb.CallToolRequest(name="tag", images={"image": pb.Picture(data=picture())}, overlay=True)
        assert platform.CallTool(never, timeout=30).overlay == ""


def test_tools_are_listed_as_they_are_over_http(platform: Any, gateway: Any) -> None:
    with gateway.client() as http:
        expected = http.get("/v1/tools").json()["data"]
    tools = platform.ListTools(pb.ListToolsRequest()).tools
    fields = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    assert [json_format.MessageToDict(tool, **fields) for tool in tools] == expected


def test_a_stored_picture_comes_back_in_pieces_that_begin_with_what_it_is(platform: Any) -> None:
    data = picture("PNG", (200, 200)) + b"\0" * 200_000
    stored = platform.UploadImage(pieces(data, 50_000))
    chunks = list(platform.GetImage(pb.GetImageRequest(id=stored.id)))
    assert len(chunks) > 1
    assert b"".join(chunk.data for chunk in chunks) == data
    assert chunks[0].image.id == stored.id
    assert not any(chunk.HasField("image") for chunk in chunks[1:])


def test_an_upload_is_refused_as_soon_as_it_is_too_large(platform: Any) -> None:
    sent = 0

    def endless() -> Iterator[pb.UploadImageRequest]:
        nonlocal sent
        while True:
            sent += 2**20
            yield pb.UploadImageRequest(data=bytes(2**20))

    with pytest.raises(grpc.RpcError) as refused:
        platform.UploadImage(endless(), timeout=60)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert metadata_of(refused.value)["code"] == "invalid_image"
    assert str(GatewaySettings().image_bytes_max) in refused.value.details()


def test_a_message_over_the_limit_is_refused(platform: Any) -> None:
    data = bytes(GatewaySettings().grpc_message_bytes_max + 1)
    with pytest.raises(grpc.RpcError) as refused:
        chat(platform, "What is it?", pb.Picture(data=data))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("request_", "code", "kind", "param", "says"),
    [
        (pb.ChatRequest(), "INVALID_ARGUMENT", "invalid_request", "text", "ask a question"),
        (pb.ChatRequest(text="x" * 9000), "INVALID_ARGUMENT", "invalid_request", "text", "text: at most 8000"),
        (pb.ChatRequest(text="Hi", session_id="sess_0"), "NOT_FOUND", "session_not_found", "session_id", "session"),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture()]),
            "INVALID_ARGUMENT",
            "invalid_request",
            "pictures.0",
            "the picture is empty: set id, data, url or mask",
        ),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture(picture=pb.Picture(data=b"x"))]),
            "INVALID_ARGUMENT",
            "invalid_image",
            "pictures.0",
            "picture",
        ),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture(picture=pb.Picture(id=UNKNOWN))]),
            "NOT_FOUND",
            "image_not_found",
            None,
            UNKNOWN,
        ),
        (
            pb.ChatRequest(text="Hi", pictures=[pb.NamedPicture(picture=pb.Picture(url="ftp://x"))]),
            "INVALID_ARGUMENT",
            "invalid_request",
            "images.0",
            "data: URL",
        ),
        (
            pb.ChatRequest(text="Hi", boxes=[pb.Box(x0=0.9, x1=0.1)]),
            "INVALID_ARGUMENT",
            "invalid_request",
            "boxes.0",
            "x0 <= x1",
        ),
        (
            pb.ChatRequest(text="Hi", mask=pb.Picture(mask=pb.MaskRle(height=2, width=2, counts="5"))),
            "INVALID_ARGUMENT",
            "invalid_request",
            "mask",
            "not the code of a mask",
        ),
        (pb.ChatRequest(text="Hi", temperature=9), "INVALID_ARGUMENT", "invalid_request", "temperature", "2"),
    ],
)
def test_a_wrong_question_says_what_is_wrong_in_its_own_terms(
    platform: Any, request_: pb.ChatRequest, code: str, kind: str, param: str | None, says: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        list(platform.Chat(request_, timeout=30))
    assert error.value.code().name == code
    assert says in error.value.details()
    assert "messages." not in error.value.details()
    metadata = metadata_of(error.value)
    assert (metadata["code"], metadata.get("param")) == (kind, param)
    assert metadata["request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("tool", "images", "arguments", "param"),
    [
        ("reader", {}, {}, "image"),
        ("reader", {"image": pb.Picture(data=picture()), "mask": pb.Picture(data=picture())}, {}, "mask"),
        ("reader", {"image": pb.Picture(data=picture())}, {"languages": 3}, "arguments.languages"),
        ("reader", {"image": pb.Picture(data=picture())}, {"größe": 3}, "arguments.gr\\xf6\\xdfe"),
        ("painter+mask", {name: pb.Picture(data=picture()) for name in ("image", "mask")}, {}, "arguments"),
    ],
)
def test_a_wrong_call_names_the_field_and_runs_nothing(
    platform: Any, skills: FakeSkills, tool: str, images: dict[str, pb.Picture], arguments: dict[str, Any], param: str
) -> None:
    request = pb.CallToolRequest(name=tool, images=images)
    if arguments:
        request.arguments.update(arguments)
    with pytest.raises(grpc.RpcError) as error:
        platform.CallTool(request, timeout=30)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert metadata_of(error.value)["param"] == param
    assert skills.calls == []


def test_an_unknown_tool_is_not_found_and_the_known_ones_are_named(platform: Any) -> None:
    with pytest.raises(grpc.RpcError) as error:
        platform.CallTool(pb.CallToolRequest(name="nonsense"), timeout=30)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "reader" in error.value.details()


@pytest.mark.parametrize(
    ("fails", "code", "retry_after"),
    [
        (SkillOverloaded("The queue is full.", retry_after_s=4.0), "RESOURCE_EXHAUSTED", "4"),
        (SkillUnavailable("Starting.", retry_after_s=0.2), "UNAVAILABLE", "1"),
        (SkillFailed("secret words of a library"), "INTERNAL", None),
    ],
)
def test_a_skills_error_has_a_code_and_says_when_to_try_again(
    platform: Any, skills: FakeSkills, fails: SkillError, code: str, retry_after: str | None
) -> None:
    skills.fails = fails
    with pytest.raises(grpc.RpcError) as error:
        platform.CallTool(pb.CallToolRequest(name="reader", images={"image": pb.Picture(data=picture())}), timeout=30)
    assert error.value.code().name == code
    metadata = metadata_of(error.value)
    assert metadata["code"] == fails.kind
    assert metadata.get("retry-after") == retry_after
    assert "secret" not in error.value.details()


def test_a_planner_that_is_away_is_unavailable(platform: Any, planner: FakePlanner) -> None:
    planner.fails = PlannerUnavailable("The planner is starting.", retry_after_s=1.0)
    with pytest.raises(grpc.RpcError) as error:
        chat(platform, "Hi")
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert error.value.details() == "The planner is starting."
    assert metadata_of(error.value)["retry-after"] == "1"


def test_an_unforeseen_error_reveals_nothing(platform: Any, skills: FakeSkills) -> None:
    skills.fails = RuntimeError("/etc/secret")
    with pytest.raises(grpc.RpcError) as error:
        platform.CallTool(pb.CallToolRequest(name="reader", images={"image": pb.Picture(data=picture())}), timeout=30)
    assert error.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.value.details()


def test_health_has_the_word_of_readyz(channel: grpc.Channel, skills: FakeSkills) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "llava_plus.v1.Platform"):
        request = health_pb2.HealthCheckRequest(service=service)
        assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    skills.available = False
    assert health.Check(request).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        health.Check(health_pb2.HealthCheckRequest(service="nonsense"))
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_who_watches_health_hears_of_a_change(channel: grpc.Channel, skills: FakeSkills) -> None:
    watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
    assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
    skills.available = False
    assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()


def test_a_client_without_the_proto_finds_and_calls_everything_by_reflection(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {"llava_plus.v1.Platform", "grpc.health.v1.Health"}
    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName("llava_plus.v1.Platform")
    assert [method.name for method in service.methods] == ["Chat", "CallTool", "ListTools", "UploadImage", "GetImage"]
    method = service.methods_by_name["Chat"]
    asked = json_format.ParseDict({"text": "Hi"}, message_factory.GetMessageClass(method.input_type)())
    call = channel.unary_stream(
        f"/{service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    events = [json_format.MessageToDict(event) for event in call(asked, timeout=30)]
    assert events[-1]["finished"]["answer"].endswith("You asked: Hi")


def test_calls_are_counted_by_method_and_code(platform: Any, gateway: Any) -> None:
    with pytest.raises(grpc.RpcError):
        platform.GetImage(pb.GetImageRequest(id=UNKNOWN)).next()
    with gateway.client() as http:
        metrics = http.get("/metrics").text
    assert 'llava_plus_grpc_calls_total{code="NOT_FOUND",method="GetImage"}' in metrics
