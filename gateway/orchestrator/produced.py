"""What a skill call adds to the session: handles by symbol."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.masks import union_png
from gateway.ports import ImageStore, SkillOutcome
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE


async def produced_symbols(
    spec: SkillSpec, outcome: SkillOutcome, images: ImageStore, *, owner: str, call: Mapping[str, Any]
) -> dict[Symbol, str]:
    """Handles of what the result carries; several masks are stored as one, their union.

    A symbol that the result has nothing for (no object found) is left out.

    Args:
        call: which call it was, for the lineage of what is stored here.
    """
    found: dict[Symbol, str] = {}
    for field, symbol in spec.produces.items():
        value = outcome.result.get(field)
        if not value:
            continue
        if symbol is Symbol.MASK:
            masks = value if isinstance(value, list) else [value]
            found[symbol] = await mask_handle(masks, images, owner=owner, lineage={**call, "field": field})
        else:
            found[symbol] = str(value)
    return found


async def mask_handle(codes: Sequence[Any], images: ImageStore, *, owner: str, lineage: Mapping[str, Any]) -> str:
    """The stored picture of the union of masks, which are all of one size, given as run-length codes."""
    masks = [MaskRLE.model_validate(code) for code in codes]
    info = await images.put(await asyncio.to_thread(union_png, masks), owner=owner, lineage=lineage)
    return info.id
