"""Jobs in Redis: any gateway takes one from the queue, and any answers for it.

Who runs a job holds a lease on it, a key that expires. A job that is running without one was lost with its gateway.
Every change is one script, so that it happens whole or not at all.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from pydantic_core import from_json, to_json
from redis.asyncio import Redis

from gateway.errors import JobLost, JobNotFound, JobQueueFull, MessageLockLost, to_http
from gateway.settings import GatewaySettings
from gateway.state.answers import KeptAnswer
from gateway.state.job_models import Job, JobWork, Progress
from gateway.state.redis_errors import redis_errors

KEY = "job:{}"
LEASE = "job:{}:lease"
QUEUE = "jobs:queue"
INDEX = "jobs:{}"
"""Sorted set of an owner's job ids by the time at which they were submitted."""
_ID = re.compile(r"job_[0-9a-f]{32}", re.ASCII)
_SHOWN = ("owner", "tool", "status", "created", "started", "finished", "progress", "cancel", "error")

_SUBMIT = """
if redis.call('llen', KEYS[1]) >= tonumber(ARGV[1]) then return 'full' end
if KEYS[4] then
  if redis.call('get', KEYS[5]) ~= ARGV[5] then return 'lost' end
  redis.call('set', KEYS[4], ARGV[6], 'ex', ARGV[7])
end
redis.call('hset', KEYS[2], unpack(ARGV, 8))
redis.call('expire', KEYS[2], ARGV[2])
redis.call('rpush', KEYS[1], ARGV[3])
redis.call('zadd', KEYS[3], ARGV[4], ARGV[3])
redis.call('zremrangebyscore', KEYS[3], '-inf', ARGV[4] - ARGV[2])
redis.call('expire', KEYS[3], ARGV[2])
return 'queued'
"""
_TAKE = """
while true do
  local id = redis.call('lpop', KEYS[1])
  if not id then return false end
  local job = 'job:' .. id
  if redis.call('hget', job, 'status') == 'queued' then
    redis.call('hset', job, 'status', 'running', 'started', ARGV[1])
    redis.call('set', job .. ':lease', ARGV[2], 'px', ARGV[3])
    return {id, redis.call('hget', job, 'owner'), redis.call('hget', job, 'work')}
  end
end
"""
_BEAT = """
if redis.call('get', KEYS[2]) ~= ARGV[1] or redis.call('exists', KEYS[1]) == 0 then return 'lost' end
redis.call('pexpire', KEYS[2], ARGV[2])
redis.call('hset', KEYS[1], 'progress', ARGV[3])
return redis.call('hget', KEYS[1], 'cancel') or ''
"""
_FINISH = """
if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[2])
if redis.call('exists', KEYS[1]) == 0 then return 0 end
redis.call('hset', KEYS[1], unpack(ARGV, 3))
redis.call('hdel', KEYS[1], 'work')
redis.call('expire', KEYS[1], ARGV[2])
return 1
"""
_CANCEL = """
local status = redis.call('hget', KEYS[2], 'status')
if status == 'queued' then
  redis.call('hset', KEYS[2], 'status', 'cancelled', 'finished', ARGV[2])
  redis.call('hdel', KEYS[2], 'work')
  redis.call('lrem', KEYS[1], 1, ARGV[1])
elseif status == 'running' then
  redis.call('hset', KEYS[2], 'cancel', '1')
end
"""


class TakenJob:
    """A job that this process runs, as long as its lease is renewed.

    Attributes:
        lost: somebody else may answer for the job now, or it was forgotten: stop.
        cancelled: somebody asked for its end: stop.
    """

    def __init__(self, redis: Redis, settings: GatewaySettings, job_id: str, owner: str, work: JobWork, token: str):
        self.id = job_id
        self.owner = owner
        self.work = work
        self.lost = False
        self.cancelled = False
        self._redis = redis
        self._settings = settings
        self._token = token

    async def beat(self, progress: Progress) -> None:
        """Renew the lease, say how far the work is, and learn whether it is still wanted.

        Raises:
            StateUnavailable: nothing was renewed and nothing learned.
        """
        lease_ms = round(self._settings.lock_ttl_s * 1000)
        found = await self._run(_BEAT, self._token, lease_ms, progress.model_dump_json())
        self.lost = found == b"lost"
        self.cancelled = self.cancelled or found == b"1"

    async def succeeded(self, result: bytes) -> None:
        """Store the result, as JSON."""
        await self._finish(status="succeeded", result=result)

    async def failed(self, error: dict[str, Any]) -> None:
        """Store what went wrong: see `Job.error`."""
        await self._finish(status="failed", error=to_json(error))

    async def ended(self) -> None:
        """It was cancelled."""
        await self._finish(status="cancelled")

    async def _finish(self, **fields: str | bytes) -> None:
        fields["finished"] = repr(time.time())
        flat = [part for item in fields.items() for part in item]
        await self._run(_FINISH, self._token, self._settings.jobs_ttl_s, *flat)

    async def _run(self, script: str, *args: Any) -> Any:
        with redis_errors():
            return await self._redis.eval(script, 2, KEY.format(self.id), LEASE.format(self.id), *args)


class RedisJobStore:
    """Implements `gateway.ports.JobStore`.

    Args:
        redis: an asyncio client that returns bytes.
        settings: `jobs_ttl_s`, `jobs_queue_max` and `lock_ttl_s`, which is how long a lease lasts.
    """

    def __init__(self, redis: Redis, settings: GatewaySettings) -> None:
        self._redis = redis
        self._settings = settings

    async def submit(
        self, work: JobWork, *, owner: str, kept: Callable[[dict[str, Any]], KeptAnswer] | None = None
    ) -> Job:
        job = Job(id=f"job_{secrets.token_hex(16)}", owner=owner, tool=work.tool, status="queued", created=time.time())
        fields = {
            "owner": owner,
            "tool": work.tool or "",
            "status": job.status,
            "created": repr(job.created),
            "work": work.model_dump_json(),
        }
        flat = [part for item in fields.items() for part in item]
        limits = (self._settings.jobs_queue_max, self._settings.jobs_ttl_s)
        keys, stored = [QUEUE, KEY.format(job.id), INDEX.format(owner)], ("", "", 0)
        if kept is not None:
            answer = kept({"id": job.id})
            keys += [answer.key, answer.hold.key]
            stored = (answer.hold.token, answer.data, answer.ttl_s)
        with redis_errors():
            became: Any = await self._redis.eval(
                _SUBMIT, len(keys), *keys, *limits, job.id, repr(job.created), *stored, *flat
            )
        if became == b"lost":
            raise MessageLockLost
        if became == b"full":
            raise JobQueueFull(self._settings.jobs_queue_max)
        return job

    async def take(self) -> TakenJob | None:
        token = secrets.token_hex(16)
        lease_ms = round(self._settings.lock_ttl_s * 1000)
        with redis_errors():
            found = await self._redis.eval(_TAKE, 1, QUEUE, repr(time.time()), token, lease_ms)
        if found is None:
            return None
        job_id, owner, work = found
        parsed = JobWork.model_validate_json(work)
        return TakenJob(self._redis, self._settings, job_id.decode(), owner.decode(), parsed, token)

    async def get(self, job_id: str, *, owner: str) -> Job:
        (found,) = await self._read([job_id]) if _ID.fullmatch(job_id) else [None]
        if found is None or found.owner != owner:
            raise JobNotFound
        return found

    async def result(self, job_id: str, *, owner: str) -> bytes:
        await self.get(job_id, owner=owner)
        with redis_errors():
            found = await self._redis.hget(KEY.format(job_id), "result")
        if not isinstance(found, bytes):
            raise JobNotFound
        return found

    async def cancel(self, job_id: str, *, owner: str) -> Job:
        await self.get(job_id, owner=owner)
        with redis_errors():
            await self._redis.eval(_CANCEL, 2, QUEUE, KEY.format(job_id), job_id, repr(time.time()))
        return await self.get(job_id, owner=owner)

    async def page(self, *, owner: str, limit: int, after: str | None = None) -> Sequence[Job]:
        index, start = INDEX.format(owner), 0
        with redis_errors():
            if after is not None:
                place: Any = await self._redis.zrevrank(index, after)
                if place is None:
                    raise JobNotFound
                start = int(place) + 1
            ids: Any = await self._redis.zrevrange(index, start, start + limit - 1)
        return [job for job in await self._read([one.decode() for one in ids]) if job is not None]

    async def _read(self, ids: Sequence[str]) -> list[Job | None]:
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                for job_id in ids:
                    pipe.hmget(KEY.format(job_id), *_SHOWN)
                    pipe.exists(LEASE.format(job_id))
                found = await pipe.execute()
        return [
            _parsed(job_id, dict(zip(_SHOWN, fields, strict=True)), leased=bool(leased))
            for job_id, fields, leased in zip(ids, found[::2], found[1::2], strict=True)
        ]


def _parsed(job_id: str, fields: dict[str, bytes | None], *, leased: bool) -> Job | None:
    if fields["owner"] is None:
        return None
    texts = {name: value.decode() for name, value in fields.items() if value is not None}
    lost = texts["status"] == "running" and not leased
    runs = texts["status"] == "running" and not lost
    return Job.model_validate(
        {
            "id": job_id,
            "owner": texts["owner"],
            "tool": texts["tool"] or None,
            "status": "failed" if lost else texts["status"],
            "created": texts["created"],
            "started": texts.get("started"),
            "finished": texts.get("finished"),
            "progress": from_json(texts.get("progress", "{}") if runs else "{}"),
            "cancel_requested": "cancel" in texts,
            "error": asdict(to_http(JobLost())) if lost else from_json(texts.get("error", "null")),
        }
    )
