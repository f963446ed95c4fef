"""Every client has the same five conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.conftest import served
from tests.contract.conversations import CONVERSATIONS, SeeingSkills, Way, WordPlanner
from tests.contract.ways import WAYS


@pytest.fixture(scope="module")
def addresses(redis_url: str) -> Iterator[tuple[str, str]]:
    skills = SeeingSkills()
    with served(redis_url, skills, WordPlanner(), skills_with=skills.with_store) as addresses:
        yield addresses


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def way(request: Any, addresses: tuple[str, str]) -> Iterator[Way]:
    with request.param(*addresses) as way:
        yield way


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda one: one.__name__)
def test_every_client_has_the_same_conversations(way: Way, conversation: Callable[[Way], None]) -> None:
    conversation(way)
