"""What a job says about how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_fakes import FakeSkills, data_url, picture, question

from gateway.ports import SkillOutcome
from gateway.state.job_models import Progress
from services.core.context import CallContext
from services.core.server import SkillServer
from services.core.spec import SkillSpec, Symbol
from services.core.wire import SkillReply, SkillRequest
from tests.integration.job_platform import READING, Platform, SlowSkills, over, submit, until
from tests.skill_examples import Stepper


class TellingSkills:
    """A source of progress: the third of ten steps, of whatever call."""

    async def progress(self, request_id: str) -> Progress:
        return Progress(step=3, steps=10, message=request_id)


class ServedSkills(FakeSkills):
    """A skill server's, without Ray between."""

    def __init__(self, server: SkillServer) -> None:
        super().__init__()
        self._server = server

    def specs(self) -> Sequence[SkillSpec]:
        return [Stepper.spec()]

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        request = SkillRequest(skill, dict(args), {}, context.request_id, context.deadline)
        reply = SkillReply.from_wire(await self._server.call(request.to_wire()))
        assert reply.error is None, reply.error
        return SkillOutcome(skill, reply.result or {}, reply.checkpoint, compute_ms=0.0, wait_ms=0.0, batch_size=1)


async def test_a_job_says_what_it_is_at(platform: Platform) -> None:
    skills = SlowSkills()
    client = await platform.gateway(skills)
    chat = {"chat": {"messages": [question("Please read it.", data_url(picture()))]}}
    for body in (READING, chat):
        running = await until(client, await submit(client, body), lambda job: job["progress"]["message"] is not None)
        assert running["progress"]["step"] is None
    again = await until(client, running["id"], lambda job: job["progress"]["message"] != "planned")
    assert again["progress"]["message"] == "running reader"


async def test_steps_are_shown_where_skills_tell_them(platform: Platform) -> None:
    client = await platform.gateway(SlowSkills(), TellingSkills())
    job_id = await submit(client)
    running = await until(client, job_id, lambda job: job["progress"]["step"] is not None)
    assert running["progress"] == {"step": 3, "steps": 10, "message": job_id}


async def test_the_steps_of_a_real_skill_server_reach_the_job(platform: Platform, empty_redis_url: str) -> None:
    server = SkillServer({"stepper": {"class": "tests.skill_examples:Stepper"}}, empty_redis_url, 2**20)
    skill = server._lanes["stepper"].skill
    assert isinstance(skill, Stepper)
    skill.gate.clear()
    client = await platform.gateway(ServedSkills(server))
    try:
        job_id = await submit(client, {"tool": "stepper", "input": {"arguments": {"text": "hi"}}})
        running = await until(client, job_id, lambda job: job["progress"]["step"] is not None)
        assert running["progress"] == {"step": 1, "steps": 3, "message": "running stepper"}
    finally:
        skill.gate.set()
    done = await until(client, job_id, over)
    await server.close()
    assert done["status"] == "succeeded"
    assert done["progress"] == {"step": None, "steps": None, "message": None}
