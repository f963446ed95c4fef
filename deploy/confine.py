"""Keeps a single-machine Ray on 127.0.0.1.

Left alone, Ray 2.60 puts the machine's outward address on the node even when `_node_ip_address` is
127.0.0.1, and its processes listen on all interfaces. On macOS and Windows Ray runs on the loopback
address instead, and then binds every socket of its own to it; the first function takes that path on Linux.
Serve's replicas bind one more socket, for calls between deployments, to all interfaces without a
setting; the second function narrows it. Token authentication guards the same sockets besides.

Both rely on names inside Ray, whose version is pinned; `tests/integration/test_up_down.py` looks at
the sockets of a real run.
"""

from __future__ import annotations

import os
from typing import Any

import structlog

CONFINED = "LLAVA_PLUS_LOOPBACK"


def keep_ray_on_loopback() -> None:
    """Call before `ray.init`, where it starts a local Ray and where it connects to one."""
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def keep_replica_on_loopback() -> None:
    """Call in a replica's constructor: Serve opens the socket after it. Does nothing in a cluster."""
    if os.environ.get(CONFINED) != "1":
        return
    from ray.serve._private import replica

    bind = getattr(replica, "add_port_to_grpc_server", None)
    if bind is None:
        structlog.get_logger().warning("replica_not_confined", reason="Ray's replica has another layout")
        return

    def bind_to_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]:", "127.0.0.1:"))

    replica.add_port_to_grpc_server = bind_to_loopback
