from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings

LIMITS = [name for name, field in GatewaySettings.model_fields.items() if field.annotation in (int, float)]


def test_limits_are_numbers_in_the_settings() -> None:
    assert {"body_bytes_max", "turn_deadline_s", "history_turns_max"} <= set(LIMITS)


@pytest.mark.parametrize("value", ["0", "-1"])
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_of_zero_or_less_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LLAVA_PLUS_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        GatewaySettings()
