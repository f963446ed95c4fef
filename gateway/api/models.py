"""GET /v1/models: the one planner, in OpenAI's list format."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

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
    """The planner that answers chats."""
    model = {"id": parts_of(request).planner.model, "object": "model", "created": 0, "owned_by": "llava-plus"}
    return FastJson({"object": "list", "data": [model]})
