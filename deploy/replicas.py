"""The deployment classes as they run inside replicas: the hosted class, after its sockets are confined."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from deploy.confine import keep_replica_on_loopback
from planner.engine import PlannerServer
from services.core.logs import configure_logs
from services.core.server import SkillServer


class SkillReplica(SkillServer):
    """See `services.core.server.SkillServer`.

    Args:
        intra_op_threads: threads that one operation of torch may use; None leaves it to Ray.
    """

    def __init__(
        self,
        skills: Mapping[str, Mapping[str, Any]],
        redis_url: str,
        image_cache_bytes_max: int,
        parts: Mapping[str, str],
        intra_op_threads: int | None = None,
    ) -> None:
        keep_replica_on_loopback()
        configure_logs("skill")
        if intra_op_threads is not None:
            # Read by OpenMP when torch is loaded, which the first skill does; Ray has set it to the cores booked.
            os.environ["OMP_NUM_THREADS"] = str(intra_op_threads)
        super().__init__(skills, redis_url, image_cache_bytes_max, parts)


class PlannerReplica(PlannerServer):
    """See `planner.engine.PlannerServer`."""

    def __init__(self, config: Mapping[str, Any], redis_url: str) -> None:
        keep_replica_on_loopback()
        super().__init__(config, redis_url)
        # vLLM configures logging while it is imported: ours comes last.
        configure_logs("planner")
