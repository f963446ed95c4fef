"""The deployment classes as they run inside replicas: the hosted class, after its sockets are confined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.confine import keep_replica_on_loopback
from planner.engine import PlannerServer
from services.core.logs import configure_logs
from services.core.server import SkillServer


class SkillReplica(SkillServer):
    """See `services.core.server.SkillServer`."""

    def __init__(self, skills: Mapping[str, Mapping[str, Any]], redis_url: str, image_cache_bytes_max: int) -> None:
        keep_replica_on_loopback()
        configure_logs("skill")
        super().__init__(skills, redis_url, image_cache_bytes_max)


class PlannerReplica(PlannerServer):
    """See `planner.engine.PlannerServer`."""

    def __init__(self, config: Mapping[str, Any], redis_url: str) -> None:
        keep_replica_on_loopback()
        super().__init__(config, redis_url)
        # vLLM configures logging while it is imported: ours comes last.
        configure_logs("planner")
