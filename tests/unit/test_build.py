from __future__ import annotations

import inspect
import os
from typing import Any

import pytest

from deploy.build import build_skill_app
from deploy.profile import PROFILES, ApplicationConfig, load_profile
from deploy.replicas import SkillReplica

ECHO = {"class": "tests.skill_examples:Echo"}
DOUBLER = {"class": "tests.skill_examples:Doubler"}


def bound(app: dict[str, Any], application_of: dict[str, str]) -> dict[str, Any]:
    """What a replica of the application is made with."""
    built = build_skill_app(ApplicationConfig.model_validate({"name": "mine"} | app), "redis://there", application_of)
    node = built._bound_deployment
    arguments = inspect.signature(SkillReplica.__init__).bind(None, *node.init_args, **node.init_kwargs)
    return arguments.arguments


def test_a_replica_is_told_only_of_parts_that_its_composites_run_elsewhere() -> None:
    application_of = {"echo": "mine", "echo+sketcher": "mine", "sketcher": "pictures", "looker": "eyes"}
    made = bound({"skills": {"echo": ECHO, "echo+sketcher": DOUBLER}}, application_of)
    assert made["parts"] == {"sketcher": "pictures"}
    assert bound({"skills": {"echo": ECHO}}, application_of)["parts"] == {}


@pytest.mark.parametrize("threads", [None, 3])
async def test_threads_are_set_before_a_skill_can_load_torch(
    threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("deploy.replicas.keep_replica_on_loopback", lambda: None)
    monkeypatch.setattr("deploy.replicas.configure_logs", lambda component: None)
    made = bound({"skills": {"echo": ECHO}, "intra_op_threads": threads}, {"echo": "mine"})
    del made["self"]
    replica = SkillReplica(**made | {"redis_url": "redis://127.0.0.1:1/0"})
    await replica.close()
    assert os.environ["OMP_NUM_THREADS"] == str(threads or 1)


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_applications_of_every_shipped_profile_can_be_built(path: Any) -> None:
    profile = load_profile(path.stem)
    for application in profile.applications:
        assert build_skill_app(application, "redis://there", profile.application_of()) is not None
