"""Readers of published data sets, each in the form in which it is published."""

from __future__ import annotations

from pathlib import Path

from planner.data.readers import coco, hiertext, infoseek, instruct_pix2pix, journeydb
from planner.data.readers.base import Reader
from planner.data.recipe import DataError, PictureSettings

__all__ = ["Reader", "read"]


def read(settings: PictureSettings) -> Reader:
    """The pictures of a data set.

    Raises:
        DataError: files are missing, or it is no published data set.
    """
    if settings.source == "instruct_pix2pix":
        return instruct_pix2pix.read(_needed(settings.images, settings, "images"))
    annotations = _needed(settings.annotations, settings, "annotations")
    if settings.source == "coco":
        return coco.read(annotations, settings.captions, settings.images)
    readers = {"hiertext": hiertext.read, "infoseek": infoseek.read, "journeydb": journeydb.read}
    if settings.source not in readers:
        raise DataError(f"{settings.source} is no published data set: it is read where it is made.")
    return readers[settings.source](annotations, settings.images)


def _needed(path: Path | None, settings: PictureSettings, name: str) -> Path:
    if path is None:
        raise DataError(f"pictures: {settings.source} needs `{name}`.")
    return path
