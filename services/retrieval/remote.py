"""Client of a clip-retrieval service (https://github.com/rom1504/clip-retrieval, its `knn-service`)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import httpx
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.core.errors import SkillUnavailable
from services.retrieval.index import Hit
from services.retrieval.manifest import Modality

RETRY_AFTER_S = 5.0
PICTURE_SIDE_MAX = 512
JPEG_QUALITY = 92
ASKED_PER_RESULT = 3  # the service drops near-duplicates after its search


class _Found(BaseModel):
    """One element of the service's answer: the metadata that it was built with, id and similarity."""

    model_config = ConfigDict(extra="ignore")

    id: int
    similarity: float
    caption: str | None = Field(None)
    url: str | None = Field(None)


_ANSWER = TypeAdapter(list[_Found])


class RemoteRetrieval:
    """Asks the service's `knn-service` address.

    Args:
        url: the whole address, for example `http://localhost:1234/knn-service`.
        index: the service's name of the index; None for its first one.
        modality: search among its vectors of pictures or of texts.
        timeout_s: for one request.
    """

    def __init__(self, url: str, index: str | None, modality: Modality, timeout_s: float) -> None:
        self._url = url
        self._index = index
        self._modality = modality
        self._client = httpx.Client(timeout=timeout_s)

    def close(self) -> None:
        self._client.close()

    def search(self, query: str | Image.Image, top_k: int) -> list[Hit]:
        """The nearest entries, best first.

        Raises:
            SkillUnavailable: the service cannot be reached, is late, or answers with an error or something else.
        """
        asked = ASKED_PER_RESULT * top_k
        request: dict[str, Any] = {
            "modality": self._modality,
            "indice_name": self._index,
            "num_images": asked,
            "num_result_ids": asked,
            "deduplicate": True,
        }
        if isinstance(query, str):
            request["text"] = query
        else:
            request["image"] = _as_base64(query)
        hits = [
            Hit(item.id, item.caption, item.similarity, None, item.url) for item in self._ask(request) if item.caption
        ]
        return sorted(hits, key=lambda hit: -hit.similarity)[:top_k]

    def _ask(self, request: dict[str, Any]) -> Sequence[_Found]:
        try:
            answer = self._client.post(self._url, json=request)
            answer.raise_for_status()
            return _ANSWER.validate_json(answer.content)
        except httpx.TimeoutException:
            raise _unavailable("did not answer in time") from None
        except httpx.HTTPStatusError as error:
            raise _unavailable(f"answered with status {error.response.status_code}") from None
        except httpx.HTTPError:
            raise _unavailable("cannot be reached") from None
        except ValidationError:
            raise _unavailable("answered in another format than clip-retrieval's") from None


def _unavailable(what: str) -> SkillUnavailable:
    return SkillUnavailable(f"The retrieval service {what}. Try again.", retry_after_s=RETRY_AFTER_S)


def _as_base64(picture: Image.Image) -> str:
    """A JPEG no larger than a CLIP needs."""
    small = picture.copy()
    small.thumbnail((PICTURE_SIDE_MAX, PICTURE_SIDE_MAX))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
