"""Limits and addresses of the gateway; every one is an environment variable `LLAVA_PLUS_...`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """Defaults suit the embedded profile on two cores."""

    model_config = SettingsConfigDict(env_prefix="LLAVA_PLUS_", extra="ignore", frozen=True)

    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Where pictures and sessions are kept.")
    profile: str = Field("embedded", description="Name of a profile in deploy/profiles, or the path of one.")
    redis_connections_max: int = Field(64, ge=1, description="Most connections to Redis of one gateway process.")
    redis_timeout_s: float = Field(5.0, gt=0, description="Longest wait for one answer of Redis, seconds.")
    planner_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Base URL of an OpenAI-compatible endpoint that plans, with /v1; else the profile's planner.",
    )
    planner_model: str = Field("", description="The endpoint's name of the model.")
    planner_api_key: SecretStr | None = Field(None, description="Sent to the endpoint as a bearer token.")
    planner_dialect: Literal["openai_tools", "json", "llava_plus_v0"] = Field(
        "openai_tools", description="How the endpoint's model is asked: native tool calls, or a form of text."
    )
    body_bytes_max: int = Field(20 * 2**20, ge=1, description="Largest request body, bytes.")
    image_bytes_max: int = Field(15 * 2**20, ge=1, description="Largest encoded picture, bytes.")
    image_pixels_max: int = Field(
        40_000_000,
        ge=1,
        le=178_000_000,
        description="Largest picture, pixels (width times height); Pillow stops at 178 M.",
    )
    image_decodes_max: int = Field(2, ge=1, description="Uploads decoded at the same time, to bound memory.")
    fetch_enabled: bool = Field(True, description="Fetch pictures that are given as https URLs.")
    fetch_schemes: frozenset[Literal["https", "http"]] = Field(
        frozenset({"https"}), min_length=1, description="Schemes of URLs that are fetched, as JSON."
    )
    fetch_ports: frozenset[int] = Field(
        frozenset({443}), min_length=1, description="Ports that are fetched from, as JSON."
    )
    fetch_allowed: tuple[str, ...] = Field(
        (),
        description="Private hosts and networks that are fetched from too, such as an object store's, as JSON: "
        '["minio.storage.svc", "10.1.0.0/16"].',
    )
    fetch_ca_file: Path | None = Field(
        None, description="Certificate authorities (PEM) that are believed besides the usual ones."
    )
    fetch_redirects_max: int = Field(3, ge=0, description="Most redirects of one picture's URL.")
    fetch_timeout_s: float = Field(10.0, gt=0, description="Longest a picture may take to fetch, seconds.")
    fetches_max: int = Field(8, ge=1, description="Pictures fetched at the same time by one gateway process.")
    images_per_message_max: int = Field(8, ge=1, description="Most pictures in one message.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Where clients reach the gateway, for the URLs of pictures in answers; else these are paths.",
    )
    answers_max: int = Field(4, ge=1, description="Most answers to one chat request (n).")
    alternatives_temperature: float = Field(
        0.7, ge=0, le=2, description="Of answers after the first where a request has n and no temperature."
    )
    messages_max: int = Field(200, ge=1, description="Most messages in one chat request.")
    text_chars_max: int = Field(8_000, ge=1, description="Longest message, characters.")
    session_ttl_s: int = Field(24 * 3600, ge=1, description="How long an unused session is kept, seconds.")
    session_wait_s: float = Field(
        120.0,
        gt=0,
        description="How long a message waits for another one of its session, seconds; a turn may take as long.",
    )
    sessions_listed_max: int = Field(100, ge=1, description="Most sessions in one answer of GET /v1/sessions.")
    lock_ttl_s: float = Field(15.0, gt=0, description="How long a lock outlives a gateway that dies, seconds.")
    idempotency_ttl_s: int = Field(
        24 * 3600, ge=1, description="How long the answer to a message with an Idempotency-Key is kept, seconds."
    )
    thumbnail_side_px: int = Field(256, ge=16, description="Longer side of a thumbnail, pixels.")
    overlay_side_px: int = Field(2048, ge=16, description="Longer side of a picture with boxes and masks, pixels.")
    image_ttl_s: int = Field(24 * 3600, ge=1, description="How long an unused picture is kept, seconds.")
    results_ttl_s: int = Field(
        24 * 3600, ge=1, description="How long a skill's result is kept for equal calls, seconds."
    )
    results_max: int = Field(10_000, ge=1, description="Most results kept; the oldest make room.")
    result_bytes_max: int = Field(256 * 2**10, ge=1, description="Largest result that is kept, bytes of JSON.")
    ready_timeout_s: float = Field(2.0, gt=0, description="Longest wait for one part's readiness, seconds.")
    turn_deadline_s: float = Field(120.0, gt=0, description="Longest a turn may take, seconds.")
    tool_deadline_s: float = Field(60.0, gt=0, description="Longest a single skill call may take, seconds.")
    batch_inputs_max: int = Field(32, ge=1, description="Most inputs in one batch of tool calls.")
    batch_parallel_max: int = Field(16, ge=1, description="Most calls of one batch that run at the same time.")
    jobs_running_max: int = Field(2, ge=0, description="Jobs that one gateway process runs at the same time.")
    jobs_queue_max: int = Field(100, ge=1, description="Most jobs that wait, of all gateways together.")
    jobs_ttl_s: int = Field(24 * 3600, ge=1, description="How long a job is kept after its last change, seconds.")
    jobs_listed_max: int = Field(100, ge=1, description="Most jobs in one answer of GET /v1/jobs.")
    job_deadline_s: float = Field(1800.0, gt=0, description="Longest a job may run, seconds.")
    job_beat_s: float = Field(
        1.0, gt=0, description="How often a running job's progress is stored and its cancelling noticed, seconds."
    )
    job_poll_s: float = Field(
        1.0, gt=0, description="How often an idle gateway looks for jobs that came to another one, seconds."
    )
    turn_mode: Literal["fly", "all_tools"] = Field(
        "fly", description="What a chat that names no mode does: see ChatRequest.mode."
    )
    all_tools_max: int = Field(8, ge=1, description="Most skill calls that mode all_tools makes before the planner.")
    all_tools_chars_max: int = Field(
        4_000, ge=1, description="Most of their results that the planner sees, characters."
    )
    turn_steps_max: int = Field(
        4, ge=1, description="Most planner calls in one turn, besides one more where a reply cannot be read."
    )
    turn_calls_max: int = Field(8, ge=1, description="Most skill calls in one turn.")
    turn_parallel_max: int = Field(4, ge=1, description="Most skill calls of one turn that run at the same time.")
    turn_answer_reserve_s: float = Field(
        10.0, gt=0, description="What skill calls leave of a turn's time for the answer (a quarter at most), seconds."
    )
    answer_tokens_max: int = Field(512, ge=1, description="Longest planner reply, tokens.")
    history_turns_max: int = Field(8, ge=1, description="How many earlier turns the planner sees.")
    planner_brief: bool = Field(True, description="Leave out what a small planner does not use from skill results.")
    grpc_host: str = Field("127.0.0.1", description="Address that gRPC listens on.")
    grpc_port: int = Field(0, ge=0, le=65535, description="Port that gRPC listens on; 0 is none.")
    grpc_message_bytes_max: int = Field(20 * 2**20, ge=1, description="Largest gRPC message that is taken, bytes.")
    grpc_calls_max: int = Field(256, ge=1, description="gRPC calls answered at the same time by one gateway process.")
    grpc_keepalive_s: float = Field(60.0, gt=0, description="Silence after which a gRPC client is pinged, seconds.")
    grpc_keepalive_timeout_s: float = Field(
        20.0, gt=0, description="How long a gRPC client may take to answer a ping, seconds."
    )
    grpc_watch_every_s: float = Field(
        2.0, gt=0, description="How often readiness is looked at for those who watch grpc.health.v1, seconds."
    )
    grpc_grace_s: float = Field(3.0, ge=0, description="How long gRPC calls may finish on a stop, seconds.")
    mcp_hosts: tuple[str, ...] = Field(
        ("127.0.0.1", "localhost", "[::1]"),
        description='Names under which /mcp is reached, as JSON, any port; ["*"] is all, for use behind a proxy.',
    )
    mcp_sessions: bool = Field(
        True,
        description="Keep a session for each MCP client of before 2026-07-28, so that it can cancel its calls; off "
        "where several gateways share an address and do not send a client back to the same one.",
    )
    mcp_sessions_max: int = Field(1_000, ge=1, description="Most such sessions of one gateway process.")
    mcp_session_idle_s: float = Field(1_800.0, gt=0, description="How long an unused one is kept, seconds.")
    mcp_image_bytes_max: int = Field(
        4 * 2**20, ge=0, description="Largest picture inside an MCP tool's result, bytes; larger ones are links."
    )
