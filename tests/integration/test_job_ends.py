"""Jobs that are cancelled from anywhere, lost with their gateway, or take too long: none runs for ever."""

from __future__ import annotations

import asyncio

from gateway_fakes import FakeSkills
from redis.asyncio import Redis

from gateway.settings import GatewaySettings
from gateway.state.job_models import Progress
from gateway.state.jobs import LEASE, RedisJobStore
from tests.integration.job_platform import Platform, SlowSkills, over, submit, until


async def test_a_job_that_waits_is_cancelled_at_once(platform: Platform) -> None:
    client = await platform.gateway(jobs_running_max=0)
    job_id = await submit(client)
    cancelled = (await client.post(f"/v1/jobs/{job_id}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    result = await client.get(f"/v1/jobs/{job_id}/result")
    assert (result.status_code, result.json()["error"]["code"]) == (409, "job_cancelled")
    worker = FakeSkills()
    await platform.gateway(worker)
    other = await submit(client)
    await until(client, other, over)
    assert len(worker.calls) == 1, "only the job that was not cancelled ran"


async def test_a_job_that_runs_is_cancelled_from_another_gateway_and_its_call_stopped(platform: Platform) -> None:
    skills = SlowSkills()
    first, second = await platform.gateway(skills), await platform.gateway(jobs_running_max=0)
    job_id = await submit(first)
    await skills.began.wait()
    asked = (await second.post(f"/v1/jobs/{job_id}/cancel")).json()
    assert asked["cancel_requested"]
    await skills.stopped.wait()
    assert (await until(second, job_id, over))["status"] == "cancelled"
    again = await second.post(f"/v1/jobs/{job_id}/cancel")
    assert again.json()["status"] == "cancelled"
    skills.may.set()
    assert (await until(first, await submit(first), over))["status"] == "succeeded", "the runner goes on"


async def test_cancelling_where_it_runs_is_noticed_without_waiting_for_the_next_beat(platform: Platform) -> None:
    skills = SlowSkills()
    client = await platform.gateway(skills, job_beat_s=1000.0)
    job_id = await submit(client)
    await skills.began.wait()
    await client.post(f"/v1/jobs/{job_id}/cancel")
    async with asyncio.timeout(10):
        await skills.stopped.wait()


async def test_a_job_that_is_over_cannot_be_cancelled_any_more(platform: Platform) -> None:
    client = await platform.gateway()
    job_id = await submit(client)
    await until(client, job_id, over)
    assert (await client.post(f"/v1/jobs/{job_id}/cancel")).json()["status"] == "succeeded"


async def test_a_job_whose_gateway_stops_is_reported_as_lost(platform: Platform) -> None:
    skills = SlowSkills()
    front = await platform.gateway(jobs_running_max=0)
    async with platform.running(skills):
        job_id = await submit(front)
        await skills.began.wait()
    assert skills.stopped.is_set()
    lost = (await front.get(f"/v1/jobs/{job_id}")).json()
    assert (lost["status"], lost["error"]["code"]) == ("failed", "job_lost")
    assert (await front.get(f"/v1/jobs/{job_id}/result")).status_code == 503


async def test_a_job_whose_gateway_died_is_reported_as_lost_when_its_lease_is_over(
    platform: Platform, redis: Redis
) -> None:
    front = await platform.gateway(jobs_running_max=0)
    job_id = await submit(front)
    taken = await RedisJobStore(redis, GatewaySettings(lock_ttl_s=0.2)).take()
    assert taken is not None
    assert taken.id == job_id
    lost = await until(front, job_id, over)
    assert (lost["status"], lost["error"]["code"]) == ("failed", "job_lost")
    await taken.beat(Progress())
    assert taken.lost
    await taken.succeeded(b"{}")
    assert (await front.get(f"/v1/jobs/{job_id}")).json()["status"] == "failed", "what comes too late changes nothing"


async def test_a_gateway_stops_work_that_it_has_lost(platform: Platform, redis: Redis) -> None:
    skills = SlowSkills()
    client = await platform.gateway(skills)
    job_id = await submit(client)
    await skills.began.wait()
    await redis.set(LEASE.format(job_id), "somebody else")
    async with asyncio.timeout(10):
        await skills.stopped.wait()


async def test_a_job_that_takes_too_long_is_stopped(platform: Platform) -> None:
    skills = SlowSkills()
    client = await platform.gateway(skills, job_deadline_s=0.2)
    done = await until(client, await submit(client), over)
    assert (done["status"], done["error"]["code"]) == ("failed", "deadline_exceeded")
    assert skills.stopped.is_set()
