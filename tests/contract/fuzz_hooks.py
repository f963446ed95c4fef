"""Hooks of Schemathesis: half of what it makes up names pictures, sessions and jobs that there are."""

from __future__ import annotations

import os
import zlib
from typing import Any

import schemathesis

HANDLE = "FUZZ_IMAGE"
IDS = {"image_id": HANDLE, "session_id": "FUZZ_SESSION", "job_id": "FUZZ_JOB"}
_PICTURES = frozenset({"image", "mask", "url"})


def _chosen(value: Any) -> bool:
    """Of half of the values, always the same half."""
    return bool(zlib.crc32(repr(value).encode("utf-8", "surrogatepass")) % 2)


def _known(value: Any, name: str) -> Any:
    """A name that there is, for half of the values."""
    return os.environ[name] if _chosen(value) else value


def _filled(value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(item) for item in value]
    if isinstance(value, dict):
        return {
            key: _known(item, HANDLE) if key in _PICTURES and isinstance(item, str) else _filled(item)
            for key, item in value.items()
        }
    return value


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    body = _filled(body)
    if isinstance(body, dict) and _chosen(body):
        if body.get("messages") and isinstance(body["messages"], list):
            return {**body, "messages": [*body["messages"][:-1], {"role": "user", "content": "What is it?"}]}
        if "chat" in body and "tool" in body:
            return {"tool": "easyocr", "input": {"image": os.environ[HANDLE]}}
    return body


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> Any:
    if not isinstance(path_parameters, dict):
        return path_parameters
    return {key: _known(value, IDS[key]) if key in IDS else value for key, value in path_parameters.items()}
