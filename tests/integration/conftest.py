"""Fixtures of the tests of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.integration.job_platform import Platform


@pytest.fixture
async def redis(empty_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(empty_redis_url) as client:
        yield client


@pytest.fixture
async def platform(empty_redis_url: str) -> AsyncIterator[Platform]:
    platform = Platform(empty_redis_url)
    yield platform
    platform.stop.set()
    await asyncio.gather(*platform.tasks)
