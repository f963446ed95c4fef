from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings

LIMITS = [name for name, field in GatewaySettings.model_fields.items() if field.annotation in (int, float)]


def test_limits_are_numbers_in_the_settings() -> None:
    assert {"body_bytes_max", "turn_deadline_s", "history_turns_max"} <= set(LIMITS)


NONE_MAKES_SENSE = {
    "fetch_redirects_max",
    "alternatives_temperature",
    "jobs_running_max",
    "grpc_port",
    "grpc_grace_s",
    "mcp_image_bytes_max",
}
"""Settings whose zero means none of it."""


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_cannot_be_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"LLAVA_PLUS_{name.upper()}", "-1" if name in NONE_MAKES_SENSE else "0")
    with pytest.raises(ValidationError, match=name):
        GatewaySettings()
