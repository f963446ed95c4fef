"""Calls over gRPC, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from llava_plus.v1 import platform_pb2 as pb

UNKNOWN = "img_" + "0" * 40


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
