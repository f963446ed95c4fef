"""Several calls of one tool in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.api.tool_models import ToolRequest
from gateway.error_handlers import http_error
from gateway.errors import GatewayError, InvalidRequest
from gateway.settings import GatewaySettings
from services.core.errors import SkillError

Call = Callable[[ToolRequest], Awaitable[dict[str, Any]]]


async def batch_answer(
    inputs: Sequence[ToolRequest], call: Call, settings: GatewaySettings, request_id: str
) -> dict[str, Any]:
    """All answers in the order of the inputs, in the shape that `ToolBatchResponse` documents.

    Raises:
        InvalidRequest: there are more than `batch_inputs_max` inputs.
    """
    if len(inputs) > settings.batch_inputs_max:
        raise InvalidRequest(f"inputs: at most {settings.batch_inputs_max} are taken.", param="inputs")
    at_once = asyncio.Semaphore(settings.batch_parallel_max)

    async def item(index: int, given: ToolRequest) -> dict[str, Any]:
        try:
            async with at_once:
                return {"index": index, "status": 200, "response": await call(given), "error": None}
        except (GatewayError, SkillError) as error:
            found = http_error(error)
            return {"index": index, "status": found.status, "response": None, **found.body(request_id)}

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(item(index, given)) for index, given in enumerate(inputs)]
    return {"object": "list", "request_id": request_id, "data": [task.result() for task in tasks]}
