"""Results that stand in for skills while a planner's choices are scored: nothing is run, so any planner can be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BOX = [0.21, 0.34, 0.58, 0.82]
_PAINTED = {"message": "The picture is ready."}


def stock_result(skill: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """What a planner is shown of a call, in the form that `SkillResult.observation(brief=True)` has for the skill."""
    caption = args.get("caption")
    names = [name.strip() for name in re.split(r"[.,]", caption) if name.strip()] if isinstance(caption, str) else []
    phrases = names or ["chair", "table"]
    boxes = [[round(min(value + 0.05 * index, 1.0), 2) for value in _BOX] for index in range(len(phrases))]
    found: dict[str, Any] = {"boxes": boxes, "phrases": phrases}
    prompt = args.get("prompt")
    known: dict[str, dict[str, Any]] = {
        "grounding_dino": found,
        "grounding_dino+sam": found,
        "blip2+grounding_dino": {"caption": "a table with a chair beside it"} | found,
        "ram+grounding_dino": {"tags": "chair, table, room"} | found,
        "sam": {"boxes": [_BOX]},
        "semantic_sam": {"levels": [{"boxes": [[0.4, 0.5, 0.45, 0.55], _BOX, [0.1, 0.2, 0.9, 0.95]], "best": 1}]},
        "seem": {"found": True, "score": 0.87, "area": 0.12},
        "openseed": {"labels": {"wall": 0.44, "floor": 0.31, "chair": 0.12}},
        "blip2": {"caption": "yes" if prompt else "a table with a chair beside it"},
        "ram": {"tags": "chair, table, room"},
        "easyocr": {"text": "OPEN\nMonday to Friday\n9:00 to 17:30"},
        "clip_retrieval": {"retrieval_results": ["The first chairs were seats of honour.", "Chairs are furniture."]},
        "stable_diffusion": _PAINTED,
        "instruct_pix2pix": _PAINTED,
        "inpainting": _PAINTED,
        "controlnet": _PAINTED,
    }
    return known.get(skill, {"result": "done"})
