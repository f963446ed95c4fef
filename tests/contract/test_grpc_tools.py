"""Tools and pictures over gRPC through a real channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from gateway_fakes import FakeSkills, picture
from google.protobuf import json_format

from gateway.settings import GatewaySettings
from llava_plus.v1 import platform_pb2 as pb
from llava_plus.v1.platform_pb2_grpc import PlatformStub
from services.core.errors import SkillError, SkillFailed, SkillOverloaded, SkillUnavailable
from services.core.spec import Symbol
from tests.contract.conftest import served
from tests.contract.grpc_calls import chat, metadata_of, pieces
from tests.contract.vision_fakes import StoredSkills, ToldPlanner


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
