"""GET /v1/models and /v1/models/{model}: the planner, alone and with each of its adapters, as OpenAI has models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.api.model_names import with_adapter
from gateway.errors import ModelNotFound
from gateway.parts import GatewayParts, parts_of
from gateway.responses import FastJson

router = APIRouter(tags=["models"])


class Model(BaseModel):
    id: str
    object: str = Field("model", description="Always `model`.")
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: str = Field("list", description="Always `list`.")
    data: list[Model]


@router.get("/v1/models", response_model=ModelList)
async def list_models(request: Request) -> Response:
    """The planner that answers chats, and after it its adapters: `llava-plus:NAME` as a chat's `model` asks for one."""
    return FastJson({"object": "list", "data": [_model(name) for name in await _names(parts_of(request))]})


@router.get("/v1/models/{model}", response_model=Model)
async def get_model(model: str, request: Request) -> Response:
    """One of them, by its id."""
    names = await _names(parts_of(request))
    if model not in names:
        raise ModelNotFound(names)
    return FastJson(_model(model))


async def _names(parts: GatewayParts) -> list[str]:
    return [with_adapter(parts.planner.model, name) for name in (None, *(await parts.adapters()))]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "llava-plus"}
