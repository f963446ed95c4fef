"""What a tool found, as lines of text for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llava_plus.models import Found

TEXT_CHARS_MAX = 2_000
_DRAWN = frozenset({"boxes", "masks_rle", "mask_rle", "size"})
_BESIDE_BOXES = ("phrases", "texts", "labels", "logits", "scores", "iou")


def result_lines(found: Found) -> Iterator[str]:
    """One line for each box or mask (label, score, box in pixels, the mask's share), then every other field."""
    result = found.result or {}
    things = _things(found, result)
    yield from _columns(things)
    beside = set(_BESIDE_BOXES) if things else set()
    for name, value in result.items():
        if name in _DRAWN or name in beside or name in found.pictures:
            continue
        yield from _field(name, value)
    if not things and any(result.get(name) == [] for name in ("boxes", "masks_rle", "texts")):
        yield "Nothing was found."


def _things(found: Found, result: Mapping[str, Any]) -> list[list[str]]:
    boxes, masks, labels, scores = found.boxes, found.masks_rle, found.labels, found.scores
    size = result.get("size") or {}
    width, height = size.get("width", 1), size.get("height", 1)
    rows: list[list[str]] = []
    for index in range(max(len(boxes), len(masks))):
        row = [str(index + 1)]
        if labels:
            row.append(clean(labels[index]) if index < len(labels) else "")
        if scores:
            row.append(f"{scores[index]:.2f}" if index < len(scores) else "")
        if boxes:
            row.append(_box(boxes[index].pixels(width, height)) if index < len(boxes) else "")
        if masks:
            row.append(f"{masks[index].to_array().mean():.1%} of the picture" if index < len(masks) else "")
        rows.append(row)
    return rows


def _box(box: Sequence[int]) -> str:
    x0, y0, x1, y1 = box
    return f"{x0},{y0} to {x1},{y1}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _field(name: str, value: Any) -> Iterator[str]:
    title = name.replace("_", " ")
    if value and isinstance(value, list) and all(isinstance(one, str) for one in value):
        yield f"{title}: {', '.join(map(clean, value))}"
    elif isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        for number, one in enumerate(value, 1):
            shown = {key: inner for key, inner in one.items() if inner is not None and key not in _DRAWN}
            said = [f"{key.replace('_', ' ')} {_scalar(inner)}" for key, inner in shown.items()]
            yield f"{title} {number}: {', '.join(said)}"
    elif value not in (None, []):
        yield f"{title}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list) and all(isinstance(one, float) for one in value):
        return " ".join(f"{one:.3g}" for one in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return clean(text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX] + " ...")


def clean(text: str) -> str:
    """Without control characters, which a picture's text could steer a terminal with."""
    return "".join(one for one in text if one in "\n\t" or (one >= " " and not "\x7f" <= one <= "\x9f"))
