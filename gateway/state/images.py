"""Pictures in Redis: the bytes under one key, their facts under another, both with the same time to live."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from gateway.ports import StoredImage
from gateway.settings import GatewaySettings
from gateway.state.models import ImageInfo
from gateway.state.pictures import VerifiedPicture, verify
from gateway.state.redis_errors import redis_errors
from services.core.errors import ImageNotFound
from services.core.images import DATA_KEY, INFO_KEY, image_id
from services.core.types import IMAGE_ID_PATTERN

_HANDLE = re.compile(IMAGE_ID_PATTERN)


class RedisImageStore:
    """Content-addressed pictures; every use renews their time to live.

    Args:
        redis: an asyncio client that returns bytes.
        settings: limits of pictures and `image_ttl_s`.
    """

    def __init__(self, redis: Redis, settings: GatewaySettings) -> None:
        self._redis = redis
        self._settings = settings
        self._decodes = asyncio.Semaphore(settings.image_decodes_max)

    async def put(self, data: bytes, *, owner: str, lineage: Mapping[str, Any] | None = None) -> ImageInfo:
        """See `ImageStore.put`. Bytes that are already stored are not decoded again."""
        if len(data) <= self._settings.image_bytes_max:
            known = await self._find(await asyncio.to_thread(image_id, data, owner), owner)
            if known is not None:
                return known
        async with self._decodes:
            picture = await asyncio.to_thread(
                verify,
                data,
                bytes_max=self._settings.image_bytes_max,
                pixels_max=self._settings.image_pixels_max,
            )
        info = self._info_of(picture, owner, lineage)
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(DATA_KEY.format(info.id), picture.data, ex=self._settings.image_ttl_s)
                pipe.set(INFO_KEY.format(info.id), info.model_dump_json(), ex=self._settings.image_ttl_s)
                await pipe.execute()
        return info

    async def get(self, image_id: str, *, owner: str) -> StoredImage:
        info = await self.info(image_id, owner=owner)
        with redis_errors():
            data = await self._redis.get(DATA_KEY.format(image_id))
        if not isinstance(data, bytes):
            raise _not_found(image_id)
        return StoredImage(info, data)

    async def info(self, image_id: str, *, owner: str) -> ImageInfo:
        found = await self._find(image_id, owner) if _HANDLE.fullmatch(image_id) else None
        if found is None:
            raise _not_found(image_id)
        return found

    async def _find(self, handle: str, owner: str) -> ImageInfo | None:
        """The facts of a picture whose bytes are there too; renews both keys."""
        ttl = self._settings.image_ttl_s
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.getex(INFO_KEY.format(handle), ex=ttl)
                pipe.expire(DATA_KEY.format(handle), ttl)
                stored, has_data = await pipe.execute()
        if stored is None or not has_data:
            return None
        try:
            info = ImageInfo.model_validate_json(stored)
        except ValidationError:
            return None
        return info.model_copy(update={"expires": time.time() + ttl}) if info.owner == owner else None

    def _info_of(self, picture: VerifiedPicture, owner: str, lineage: Mapping[str, Any] | None) -> ImageInfo:
        now = time.time()
        return ImageInfo(
            id=image_id(picture.data, owner),
            owner=owner,
            size=picture.size,
            media_type=picture.media_type,
            bytes=len(picture.data),
            created=now,
            expires=now + self._settings.image_ttl_s,
            lineage=dict(lineage) if lineage is not None else None,
        )


def _not_found(handle: str) -> ImageNotFound:
    shown = handle if _HANDLE.fullmatch(handle) else "with that handle"
    return ImageNotFound(f"No picture {shown}: it expired or was never uploaded. Upload it again.", image=shown)
