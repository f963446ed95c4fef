"""The gRPC service as such: what clients generate from the `.proto`, reflection, health, measurements."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateway_fakes import FakeSkills, picture
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from llava_plus.v1 import platform_pb2 as pb
from tests.contract.grpc_calls import UNKNOWN

ROOT = Path(__file__).parents[2]


def test_the_generated_modules_are_those_of_the_proto(tmp_path: Path) -> None:
    source = "llava_plus/v1/platform.proto"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", source], cwd=ROOT, check=True
    )
    fresh = (tmp_path / source).with_name("platform_pb2.py")
    assert fresh.read_text() == Path(pb.__file__).read_text(), "the .proto has changed: run `pip install -e .` again"


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


def test_all_services_are_listed_with_their_health(channel: grpc.Channel, skills: FakeSkills) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    listed = health.List(health_pb2.HealthListRequest(), timeout=30).statuses
    assert {name: one.status for name, one in listed.items()} == dict.fromkeys(
        ("", "llava_plus.v1.Platform"), health_pb2.HealthCheckResponse.SERVING
    )
    skills.available = False
    listed = health.List(health_pb2.HealthListRequest(), timeout=30).statuses
    assert {one.status for one in listed.values()} == {health_pb2.HealthCheckResponse.NOT_SERVING}


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


def test_an_unforeseen_error_reveals_nothing(platform: Any, skills: FakeSkills) -> None:
    skills.fails = RuntimeError("/etc/secret")
    with pytest.raises(grpc.RpcError) as error:
        platform.CallTool(pb.CallToolRequest(name="reader", images={"image": pb.Picture(data=picture())}), timeout=30)
    assert error.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.value.details()
