"""GET /v1/models: the planner, alone and with each of its adapters, in OpenAI's list format."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.api.model_names import with_adapter
from gateway.parts import parts_of
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
    parts = parts_of(request)
    names = [None, *(await parts.adapters())]
    data = [
        {"id": with_adapter(parts.planner.model, name), "object": "model", "created": 0, "owned_by": "llava-plus"}
        for name in names
    ]
    return FastJson({"object": "list", "data": data})
