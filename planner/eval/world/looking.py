"""Checks of whole replies: words, boxes, masks, and pictures, which the platform's own skills look at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from planner.eval.gateway import Reply
from planner.eval.world.shapes import boxes_are, mask_is, mask_of, matched
from planner.eval.world.turns import Check, Eyes

AREA_OFF_MAX = 0.15
"""A map may be wrong about this share of the picture."""
AREA_SEEN_MIN = 0.005
"""What covers less of a map is not shown (a planner is not told of it either)."""


def said(check: Callable[[str], str]) -> Check:
    async def checked(reply: Reply, eyes: Eyes) -> str:
        return check(reply.answer)

    return checked


def both(*parts: Check) -> Check:
    async def checked(reply: Reply, eyes: Eyes) -> str:
        for part in parts:
            wrong = await part(reply, eyes)
            if wrong:
                return wrong
        return ""

    return checked


def boxes(wanted: Sequence[Sequence[float]], least_found: float | None = None) -> Check:
    """The last boxes that a skill gave are right; with `least_found`, that share of the things has one."""

    async def checked(reply: Reply, eyes: Eyes) -> str:
        found = next((result["boxes"] for result in reversed(reply.results()) if result.get("boxes") is not None), None)
        if found is None:
            return "no boxes"
        if least_found is None:
            return boxes_are(found, wanted)
        right = matched(found, wanted)
        return "" if right >= least_found * len(wanted) else f"{right} of {len(wanted)} things have a box"

    return checked


def masked(*wanted: NDArray[np.bool_]) -> Check:
    async def checked(reply: Reply, eyes: Eyes) -> str:
        found = next((result["masks_rle"] for result in reversed(reply.results()) if result.get("masks_rle")), ())
        return mask_is(mask_of(found), wanted)

    return checked


def mapped(background: str, share: float, things: Collection[str]) -> Check:
    """The map gives the background about its share of the picture, names half of the things, and little else."""

    async def checked(reply: Reply, eyes: Eyes) -> str:
        for result in reversed(reply.results("openseed")):
            areas = {str(label["name"]): float(label["area"]) for label in result["labels"]}
            found = areas.get(background, 0.0)
            if abs(found - share) > AREA_OFF_MAX:
                return f"{background} {found:.2f} of the picture, it is {share:.2f}"
            seen = sum(areas.get(name, 0.0) >= AREA_SEEN_MIN for name in things)
            if seen < 0.5 * len(things):
                return f"the map has {seen} of {len(things)} things"
            other = sum(area for name, area in areas.items() if name != background and name not in things)
            return "" if other <= AREA_OFF_MAX else f"{other:.2f} of the picture is of things that are not there"
        return "no map"

    return checked


def levels(wanted: NDArray[np.bool_]) -> Check:
    async def checked(reply: Reply, eyes: Eyes) -> str:
        for result in reversed(reply.results("semantic_sam")):
            codes = [code for level in result["levels"] for code in level["masks_rle"]]
            if len(codes) < 2:
                return "one mask, not several"
            return min((mask_is(mask_of([code]), [wanted]) for code in codes), key=len)
        return "no masks of several sizes"

    return checked


def produced(check: Callable[[str, Eyes], Awaitable[str]]) -> Check:
    async def checked(reply: Reply, eyes: Eyes) -> str:
        return await check(reply.produced[-1], eyes) if reply.produced else "no picture"

    return checked


def shows(phrase: str) -> Check:
    async def check(handle: str, eyes: Eyes) -> str:
        return "" if await eyes.finds(handle, phrase) else f"the picture shows no {phrase}"

    return produced(check)


def paints_scene(wanted: str) -> Check:
    async def check(handle: str, eyes: Eyes) -> str:
        found = await eyes.scene(handle)
        return "" if found == wanted else f"the picture is of {found or 'no known scene'}, not of {wanted}"

    return produced(check)


def inside_only(before: NDArray[np.uint8], mask: NDArray[np.bool_], phrase: str) -> Check:
    """The picture shows something new in the mask's place and is nearly the same elsewhere."""
    far = ~_grown(mask, before.shape[0] // 12)

    async def check(handle: str, eyes: Eyes) -> str:
        after = await eyes.pixels(handle)
        if after.shape != before.shape:
            return "the picture has another size"
        changed = np.abs(after.astype(int) - before.astype(int)).max(axis=2) > 40
        if far.any() and changed[far].mean() > 0.1:
            return "it changed the picture elsewhere"
        ys, xs = np.nonzero(mask)
        height, width = mask.shape
        place = [xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height]
        found = await eyes.finds(handle, phrase)
        return "" if matched(found, [place], 0.2) else f"no {phrase} in that place"

    return produced(check)


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    grown: NDArray[np.bool_] = cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0
    return grown
