"""`manifest.json`: what an index was made from, and how far its build came."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.retrieval.errors import RetrievalError

MANIFEST_FILE = "manifest.json"

Modality = Literal["image", "text"]


class Manifest(BaseModel):
    """Read by people and by whoever opens the index; written anew, in one step, at each stage of a build."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = Field(1, description="Version of the folder's layout.")
    checkpoint: str = Field(description="The CLIP that made the vectors, as it was named.")
    fingerprint: str = Field(description="Hash of that CLIP's weights: vectors of another one mean nothing to it.")
    modality: Modality = Field(description="Whether vectors are of pictures or of texts.")
    dim: int = Field(ge=1, description="Length of a vector.")
    state: Literal["embedding", "indexing", "ready"] = Field(description="What the last build was doing.")
    entries: int = Field(0, ge=0, description="Entries when the state was written.")
    kind: Literal["flat", "ivfpq"] | None = Field(None, description="Structure of index.faiss.")
    trained_on: int = Field(0, ge=0, description="Entries when the structure was trained.")

    def write(self, folder: Path) -> None:
        replace_file(folder / MANIFEST_FILE, (self.model_dump_json(indent=2) + "\n").encode())

    @staticmethod
    def read(folder: Path) -> Manifest | None:
        """None where there is no manifest.

        Raises:
            RetrievalError: it is of another format, or damaged.
        """
        path = folder / MANIFEST_FILE
        if not path.is_file():
            return None
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise RetrievalError(f"{path} cannot be read: {error.errors()[0]['msg']}. Build the index anew.") from None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that others see the old content or the new one, also after a power cut."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
