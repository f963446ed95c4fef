"""Jobs in a real Redis, shared by gateways: what is wrong is said at once, and each runs once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from gateway_fakes import FakeSkills, data_url, picture, question
from redis.asyncio import Redis

from gateway.errors import JobNotFound, JobQueueFull
from gateway.settings import GatewaySettings
from gateway.state.jobs import RedisJobStore
from services.core.errors import SkillFailed, SkillOverloaded
from tests.integration.job_platform import READING, WORK, Platform, SlowSkills, over, submit, until


async def test_a_tool_call_is_a_job_whose_result_is_what_the_tool_answers(platform: Platform) -> None:
    skills = SlowSkills()
    client = await platform.gateway(skills)
    body = {"tool": "ocr", "input": {"image": "https://pictures.test/a.png", "arguments": {"languages": ["de"]}}}
    submitted = (await client.post("/v1/jobs", json=body)).json()
    assert submitted["status"] == "queued"
    assert (submitted["type"], submitted["tool"]) == ("tool", "reader")
    await skills.began.wait()
    running = await until(client, submitted["id"], lambda job: job["status"] == "running")
    assert running["started"] >= submitted["created"]
    early = await client.get(running["result_url"])
    assert early.status_code == 409
    assert early.headers["Retry-After"] == "2"
    skills.may.set()
    done = await until(client, submitted["id"], over)
    assert done["status"] == "succeeded"
    assert done["elapsed_s"] == pytest.approx(done["finished"] - done["started"])
    result = (await client.get(done["result_url"])).json()
    assert result["result"] == {"texts": ["STOP"]}
    assert result["request_id"] == submitted["id"]
    name, args, _, context = skills.calls[0]
    assert (name, args) == ("reader", {"languages": ["de"]})
    assert context.deadline > time.time() + 1000


async def test_a_chat_is_a_job_whose_session_goes_on(platform: Platform) -> None:
    client = await platform.gateway()
    chat = {"messages": [question("Please read the sign.", data_url(picture()))], "n": 2, "debug": True}
    done = await until(client, await submit(client, {"chat": chat}), over)
    assert (done["type"], done["tool"], done["status"]) == ("chat", None, "succeeded")
    answer = (await client.get(done["result_url"])).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["It says STOP."] * 2
    again = {"messages": [question("And now?")], "session_id": answer["session_id"]}
    done = await until(client, await submit(client, {"chat": again}), over)
    assert "I see 1 picture(s)" in (await client.get(done["result_url"])).text


async def test_every_kind_of_part_of_a_chat_is_stored_when_the_job_is_submitted(
    platform: Platform, redis: Redis
) -> None:
    client = await platform.gateway(jobs_running_max=0)
    mask = {"type": "mask", "mask": data_url(picture(color="white"))}
    code = {"size": [2, 2], "counts": "04"}
    parts = [
        *question("What is it?", data_url(picture()), "https://pictures.test/a.png")["content"],
        mask,
        {"type": "reference", "image": data_url(picture(color="blue")), "mask": code},
        {"type": "points", "points": [[0.5, 0.5]]},
    ]
    job_id = await submit(client, {"chat": {"messages": [{"role": "user", "content": parts}]}})
    queued = (await redis.hget(f"job:{job_id}", "work") or b"").decode()
    assert "base64" not in queued
    assert "https:" not in queued
    assert queued.count("img_") == 5


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 422, None),
        ({"tool": "reader"}, 422, None),
        ({"input": {}}, 422, None),
        ({**READING, "chat": {"messages": [question("Hi")]}}, 422, None),
        ({**READING, "more": 1}, 422, "more"),
        ({"tool": "nonsense", "input": {}}, 404, None),
        ({"tool": "reader", "input": {}}, 400, "input.image"),
        ({"tool": "reader", "input": {"image": 3}}, 400, "input.image"),
        ({"tool": "reader", "input": {"image": "https://inside.test/"}}, 400, "input.image"),
        ({"tool": "reader", "input": {**READING["input"], "arguments": {"x": 1}}}, 400, "input.arguments.x"),  # type: ignore[dict-item]
        ({"tool": "reader", "input": {"image": "img_" + "0" * 40}}, 404, None),
        ({"chat": {"messages": []}}, 422, "chat.messages"),
        ({"chat": {"messages": [question("")]}}, 400, None),
        ({"chat": {"messages": [question("Hi")], "stream": True}}, 400, "chat.stream"),
        ({"chat": {"messages": [question("Hi")], "session_id": "sess_x"}}, 404, "session_id"),
        ({"chat": {"messages": [question("Hi", "nonsense")]}}, 400, "chat.messages.0.content.1.image_url.url"),
    ],
)
async def test_what_is_wrong_with_a_job_is_said_when_it_is_submitted(
    platform: Platform, body: Any, status: int, param: str | None
) -> None:
    client = await platform.gateway()
    response = await client.post("/v1/jobs", json=body)
    assert response.status_code == status, response.text
    if param is not None:
        assert response.json()["error"]["param"] == param
    assert (await client.get("/v1/jobs")).json()["data"] == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (SkillFailed("Out of memory at 0x7f."), 500, "skill_failed"),
        (SkillOverloaded("The queue is full."), 429, "skill_overloaded"),
        (RuntimeError("/secret/path"), 500, "internal_error"),
    ],
)
async def test_a_job_that_fails_says_why_as_the_endpoint_would(
    platform: Platform, error: Exception, status: int, code: str
) -> None:
    client = await platform.gateway(FakeSkills(fails=error))
    done = await until(client, await submit(client), over)
    assert done["status"] == "failed"
    assert done["error"]["code"] == code
    assert "0x7f" not in str(done)
    assert "/secret" not in str(done)
    result = await client.get(done["result_url"])
    assert result.status_code == status
    assert result.json()["error"]["request_id"] == done["id"]
    assert (await until(client, await submit(client), over))["status"] == "failed", "the runner goes on"
    assert 'llava_plus_jobs_total{outcome="failed"}' in (await client.get("/metrics")).text


async def test_a_job_is_taken_by_any_gateway_and_run_once(platform: Platform) -> None:
    workers = [FakeSkills(), FakeSkills()]
    front = await platform.gateway(jobs_running_max=0)
    jobs = [await submit(front) for _ in range(12)]
    for worker in workers:
        await platform.gateway(worker)
    for job_id in jobs:
        assert (await until(front, job_id, over))["status"] == "succeeded"
    assert sum(len(worker.calls) for worker in workers) == 12


async def test_the_queue_is_bounded(platform: Platform) -> None:
    client = await platform.gateway(jobs_running_max=0, jobs_queue_max=2)
    for _ in range(2):
        await submit(client)
    refused = await client.post("/v1/jobs", json=READING)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert refused.json()["error"]["code"] == "job_queue_full"


async def test_no_more_jobs_run_at_the_same_time_than_are_allowed(platform: Platform) -> None:
    skills = SlowSkills()
    client = await platform.gateway(skills, jobs_running_max=2)
    jobs = [await submit(client) for _ in range(3)]
    await until(client, jobs[1], lambda job: job["status"] == "running")
    assert [(await client.get(f"/v1/jobs/{one}")).json()["status"] for one in jobs] == ["running", "running", "queued"]
    skills.may.set()
    for one in jobs:
        assert (await until(client, one, over))["status"] == "succeeded"


async def test_a_job_that_is_submitted_again_with_its_key_is_the_same_job(platform: Platform) -> None:
    skills = FakeSkills()
    client = await platform.gateway(skills)
    first, second = await asyncio.gather(*(submit(client, **{"Idempotency-Key": "k"}) for _ in range(2)))
    assert first == second
    await until(client, first, over)
    again = await client.post("/v1/jobs", json=READING, headers={"Idempotency-Key": "k"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["status"] == "succeeded"
    assert len(skills.calls) == 1
    body = {"tool": "reader", "input": {"image": data_url(picture(color="blue"))}}
    other = await client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert other.status_code == 400


async def test_jobs_are_listed_the_newest_first_page_by_page(platform: Platform) -> None:
    client = await platform.gateway(jobs_running_max=0)
    jobs = [await submit(client) for _ in range(3)]
    page = (await client.get("/v1/jobs", params={"limit": 2})).json()
    assert [job["id"] for job in page["data"]] == [jobs[2], jobs[1]]
    assert page["has_more"]
    rest = (await client.get("/v1/jobs", params={"limit": 2, "after": jobs[1]})).json()
    assert [job["id"] for job in rest["data"]] == [jobs[0]]
    assert not rest["has_more"]
    assert (await client.get("/v1/jobs", params={"after": "job_x"})).status_code == 404


async def test_jobs_belong_to_their_owner_and_are_forgotten_in_time(redis: Redis) -> None:
    store = RedisJobStore(redis, GatewaySettings(jobs_ttl_s=1, jobs_queue_max=1))
    job = await store.submit(WORK, owner="me")
    with pytest.raises(JobQueueFull):
        await store.submit(WORK, owner="you")
    for attempt in (store.get, store.cancel, store.result):
        with pytest.raises(JobNotFound):
            await attempt(job.id, owner="you")
    assert await store.page(owner="you", limit=10) == []
    assert [one.id for one in await store.page(owner="me", limit=10)] == [job.id]
    assert 0 < await redis.ttl(f"job:{job.id}") <= 1
    await redis.delete(f"job:{job.id}")
    assert await store.page(owner="me", limit=10) == []
    assert await store.take() is None, "a job that is forgotten is not run"
    with pytest.raises(JobNotFound):
        await store.get("job_nonsense", owner="me")


async def test_the_runner_waits_while_redis_is_away(platform: Platform) -> None:
    client = await platform.gateway(redis_url="redis://127.0.0.1:1/0", redis_timeout_s=0.2)
    response = await client.post("/v1/jobs", json=READING)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "state_unavailable"
