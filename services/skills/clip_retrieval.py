"""Retrieval with CLIP (arXiv 2103.00020) and FAISS, or from a clip-retrieval service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from services.core.errors import SkillError, SkillFailed
from services.core.skill import SkillCall
from services.core.types import ImageSize, SkillArgs, SkillResult
from services.models.torch_skill import TorchOptions, TorchSkill
from services.retrieval.encoder import ClipEncoder
from services.retrieval.errors import RetrievalError
from services.retrieval.index import Hit, RetrievalIndex
from services.retrieval.manifest import Modality
from services.retrieval.remote import RemoteRetrieval

INDEX_IN_CHECKPOINT = "index"
REMOTE_REQUESTS_AT_ONCE = 8


class ClipRetrievalArgs(SkillArgs):
    """Arguments of clip_retrieval."""

    top_k: int = Field(default=3, ge=1, le=50, description="How many results.")
    query: str = Field(
        default="", max_length=300, description="Text to search for; without it the picture is searched."
    )


class RetrievalResult(BaseModel):
    """One thing that was found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caption: str
    similarity: float = Field(description="Cosine between its vector and the query's, -1 to 1.")
    id: int
    source: str | None = Field(None, description="Where it comes from.")
    url: str | None = None


class ClipRetrievalResult(SkillResult):
    """What was found, best first; empty where the index holds nothing."""

    retrieval_results: list[RetrievalResult]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        if not brief:
            return super().observation(brief=False)
        return {"retrieval_results": [found.caption for found in self.retrieval_results]}


class ClipRetrievalOptions(TorchOptions):
    """Settings of clip_retrieval."""

    index: str | None = Field(
        None, description="Folder that `llava-plus index build` made; the folder `index` in the checkpoint when absent."
    )
    remote: str | None = Field(
        None, pattern=r"^https?://", description="Address of a clip-retrieval service's knn-service; no CLIP is loaded."
    )
    remote_index: str | None = Field(None, description="The service's name of its index; its first one when absent.")
    remote_modality: Modality = Field("image", description="Search among the service's pictures or texts.")
    remote_timeout_s: float = Field(10.0, gt=0.0, description="For one request, seconds.")


class ClipRetrieval(TorchSkill[ClipRetrievalArgs, ClipRetrievalResult]):
    """Finds what is known about a picture, or about a text.

    Gives the entries of an index that are nearest to the picture, or to `query` if it is given: captions and facts
    with their similarity and source.
    """

    name = "clip_retrieval"
    aliases = ("clip", "retrieval")
    default_checkpoint = "openai/clip-vit-large-patch14"
    Args = ClipRetrievalArgs
    Result = ClipRetrievalResult
    Options = ClipRetrievalOptions

    def setup(self) -> None:
        settings = self._settings
        if settings.remote:
            remote = RemoteRetrieval(
                settings.remote, settings.remote_index, settings.remote_modality, settings.remote_timeout_s
            )
            self._search: Callable[[Calls], Sequence[list[Hit] | SkillError]] = RemoteSearch(remote)
            return
        encoder = ClipEncoder(self.source, self.place, self.pixels)
        try:
            self._search = LocalSearch(encoder, RetrievalIndex(self._index_folder, encoder.fingerprint))
        except RetrievalError as error:
            raise SkillFailed(str(error)) from None

    @property
    def _settings(self) -> ClipRetrievalOptions:
        assert isinstance(self.settings, ClipRetrievalOptions)
        return self.settings

    @property
    def _index_folder(self) -> Path:
        """Raises RetrievalError when none is configured."""
        if self._settings.index:
            return Path(self._settings.index).expanduser()
        inside = Path(self.source) / INDEX_IN_CHECKPOINT
        if not inside.is_dir():
            raise RetrievalError(
                "clip_retrieval has nothing to search in: make an index with `llava-plus index build` and name it in "
                "the option `index`, or name a clip-retrieval service in the option `remote`."
            )
        return inside

    def predict(self, batch: Sequence[SkillCall[ClipRetrievalArgs]]) -> Sequence[ClipRetrievalResult | SkillError]:
        return [
            found if isinstance(found, SkillError) else _result(found, call.image)
            for found, call in zip(self._search(batch), batch, strict=True)
        ]


Calls = Sequence[SkillCall[ClipRetrievalArgs]]


class LocalSearch:
    """Search in an index of our own: one forward for the pictures of a batch, one for its texts, one search."""

    def __init__(self, encoder: ClipEncoder, index: RetrievalIndex) -> None:
        self._encoder = encoder
        self._index = index

    def __call__(self, calls: Calls) -> Sequence[list[Hit] | SkillError]:
        queries = np.empty((len(calls), self._encoder.dim), dtype=np.float32)
        by_text = [index for index, call in enumerate(calls) if call.args.query.strip()]
        by_picture = sorted(set(range(len(calls))) - set(by_text))
        if by_text:
            queries[by_text] = self._encoder.encode_texts([calls[index].args.query for index in by_text])
        if by_picture:
            queries[by_picture] = self._encoder.encode_pictures([calls[index].image for index in by_picture])
        return self._index.search(queries, [call.args.top_k for call in calls])


class RemoteSearch:
    """Search in a service; the calls of a batch are asked at the same time."""

    def __init__(self, remote: RemoteRetrieval) -> None:
        self._remote = remote
        self._pool = ThreadPoolExecutor(REMOTE_REQUESTS_AT_ONCE, thread_name_prefix="remote-retrieval")

    def __call__(self, calls: Calls) -> Sequence[list[Hit] | SkillError]:
        return list(self._pool.map(self._one, calls))

    def _one(self, call: SkillCall[ClipRetrievalArgs]) -> list[Hit] | SkillError:
        try:
            return self._remote.search(call.args.query.strip() or call.image, call.args.top_k)
        except SkillError as error:
            return error


def _result(found: list[Hit], picture: Image.Image) -> ClipRetrievalResult:
    width, height = picture.size
    return ClipRetrievalResult(
        retrieval_results=[
            RetrievalResult(caption=hit.caption, similarity=hit.similarity, id=hit.id, source=hit.source, url=hit.url)
            for hit in found
        ],
        size=ImageSize(width=width, height=height),
    )
