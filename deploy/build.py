"""Serve applications from a profile. What YAML, the supervisor and tests all call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.profile import ApplicationConfig, PlannerConfig, Replicas
from services.core.loading import load_skill


def build_skill_app(app: ApplicationConfig, redis_url: str, application_of: Mapping[str, str]) -> Any:
    """One application that hosts the skills of `app`.

    Args:
        redis_url: where replicas read pictures.
        application_of: skill name to the application that hosts it, for composites whose parts run elsewhere.

    Returns:
        A `ray.serve.Application` whose ingress has `SkillServer.call`.
    """
    from deploy.replicas import SkillReplica

    skills = {name: config.model_dump(by_alias=True) for name, config in app.skills.items()}
    parts = {part for name, config in app.skills.items() for part in load_skill(name, config.skill_class).spec().parts}
    # No more than is needed: Serve restarts an application whose arguments change.
    elsewhere = {part: application_of[part] for part in sorted(parts - app.skills.keys())}
    return _deployment(SkillReplica, "SkillServer", app).bind(
        skills, redis_url, app.image_cache_bytes, elsewhere, app.intra_op_threads
    )


def build_planner_app(planner: PlannerConfig, redis_url: str, model: Path | None = None) -> Any:
    """The planner's application.

    Args:
        model: folder of the embedded model; None serves `planner.engine.model`.

    Returns:
        A `ray.serve.Application` whose ingress has `PlannerServer.generate`.
    """
    from deploy.replicas import PlannerReplica

    engine = planner.engine.model_dump() | ({"model": str(model)} if model else {})
    return _deployment(PlannerReplica, "PlannerServer", planner).bind(engine, redis_url)


def _deployment(replica: type[Any], name: str, config: Replicas) -> Any:
    from ray import serve

    scaling: dict[str, Any] = {"num_replicas": config.num_replicas}
    if config.autoscaling is not None:
        scaling = {"autoscaling_config": config.autoscaling.model_dump()}
    return serve.deployment(replica).options(
        name=name,
        **scaling,
        ray_actor_options={"num_cpus": config.num_cpus, "num_gpus": config.num_gpus},
        max_ongoing_requests=config.max_ongoing_requests,
        max_queued_requests=config.max_queued_requests,
        health_check_period_s=config.health_check_period_s,
        health_check_timeout_s=config.health_check_timeout_s,
        graceful_shutdown_timeout_s=config.graceful_shutdown_timeout_s,
    )
