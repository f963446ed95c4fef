"""Redis' errors, said in the gateway's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from gateway.errors import StateUnavailable


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn any error of the Redis client into `StateUnavailable`, a 503."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StateUnavailable() from error
