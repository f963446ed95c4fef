"""Where the supervisor keeps its state, and its time limits; environment variables `LLAVA_PLUS_...`."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path, user_state_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

GRPC_PORT_OFFSET = 1000


class DeploySettings(BaseSettings):
    """Defaults suit a laptop."""

    model_config = SettingsConfigDict(env_prefix="LLAVA_PLUS_", extra="ignore", frozen=True)

    state_dir: Path = Field(
        default_factory=lambda: user_state_path("llava-plus"),
        description="Logs, the embedded Redis' data and what `llava-plus down` needs to know.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("llava-plus"),
        description="What can be made again: the embedded planner's model folder.",
    )
    host: str = Field("127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port that the gateway listens on.")
    grpc_port: int | None = Field(
        None, ge=0, le=65535, description="Port that gRPC listens on; by default 1000 above `port`; 0 is none."
    )
    gateway_app: str = Field("deploy.gateway:create_app", description="Factory of the gateway's ASGI application.")
    start_deadline_s: float = Field(300.0, description="Longest a start may take, seconds.")
    stop_grace_s: float = Field(15.0, description="How long Serve and Ray may take to stop in order, seconds.")
    gateway_grace_s: float = Field(5.0, description="How long running requests may finish on a stop, seconds.")
    kill_grace_s: float = Field(5.0, description="From SIGTERM to SIGKILL for what is left after a stop, seconds.")
    gateway_restarts_per_minute_max: int = Field(5, description="More deaths of the gateway than this end the run.")
    probe_timeout_s: float = Field(2.0, description="Longest wait for one readiness answer or Redis PING, seconds.")

    @property
    def chosen_grpc_port(self) -> int:
        """`grpc_port`, or the default; above the highest port it is below `port` instead."""
        if self.grpc_port is not None:
            return self.grpc_port
        return self.port + GRPC_PORT_OFFSET if self.port + GRPC_PORT_OFFSET <= 65535 else self.port - GRPC_PORT_OFFSET
