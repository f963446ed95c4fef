"""One call of a single tool, whichever protocol it came by: pictures become handles, the call is run and measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.api.pictures import handle_of
from gateway.metrics import GatewayMetrics
from gateway.parts import GatewayParts
from gateway.ports import SkillOutcome
from services.core.context import CallContext
from services.core.errors import SkillError
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE

Given = Mapping[Symbol, str | MaskRLE]
"""What a skill works on besides its arguments: a handle, a data: or https URL, or for masks a run-length code."""


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """A successful call.

    Attributes:
        images: handles that it worked on, by what they were for.
        total_s: with everything around the skill, seconds.
    """

    outcome: SkillOutcome
    images: Mapping[Symbol, str]
    total_s: float
    request_id: str

    def body(self) -> dict[str, Any]:
        """The answer as JSON-compatible data, in the shape that `gateway.api.tool_models.ToolResponse` documents."""
        found = self.outcome
        timing = {
            "compute_ms": found.compute_ms,
            "wait_ms": found.wait_ms,
            "total_ms": self.total_s * 1000,
            "batch_size": found.batch_size,
        }
        return {
            "tool": found.skill,
            "result": found.result,
            "images": {str(symbol): handle for symbol, handle in self.images.items()},
            "checkpoint": found.checkpoint,
            "cached": found.cached,
            "timing": timing,
            "request_id": self.request_id,
        }


async def call_tool(
    spec: SkillSpec,
    given: Given,
    args: Mapping[str, Any],
    parts: GatewayParts,
    metrics: GatewayMetrics,
    context: CallContext,
) -> ToolAnswer:
    """Run one call.

    Args:
        given: one entry for each symbol in `spec.consumes`.
        args: JSON-compatible; what is left out has the skill's own default.

    Raises:
        BadImage, ImageNotFound, InvalidRequest: a picture cannot be had.
        SkillError: the call failed; see `services.core.errors`.
    """
    started = time.perf_counter()
    parts.skills.resolve(spec.name)
    handles = {
        symbol: await handle_of(given[symbol], parts, owner=context.owner, param=str(symbol))
        for symbol in sorted(spec.consumes)
    }
    outcome = "failed"
    try:
        found = await parts.skills.call(spec.name, args, handles, context)
        outcome = "cached" if found.cached else "ok"
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    except SkillError as error:
        outcome = error.kind
        raise
    finally:
        total_s = time.perf_counter() - started
        metrics.skill_call(spec.name, outcome, total_s)
    return ToolAnswer(found, handles, total_s, context.request_id)
