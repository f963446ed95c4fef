"""The same conversations through every client, with real Ray Serve, Redis and skills.

Which planner leads them is a parameter: one that follows a script, as a planner of one's own behind a second gateway on
the same platform, for exact checks and every client; and the profile's own, for what it has learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.profile import load_profile
from tests.contract.conversations import Way
from tests.contract.ways import WAYS, openai_content, openai_way
from tests.e2e.conftest import PROFILE, Stack
from tests.e2e.conversations import (
    COMPOSED,
    FOR_EVERY_CLIENT,
    GRASS,
    SCRIPT,
    TAG,
    Conversation,
    Platform,
    tags_are_right,
)
from tests.e2e.scenes import Scene
from tests.openai_server import serving_in_a_thread
from tests.scripted_planner import ScriptedEndpoint
from tests.second_gateway import gateway_with_planner

pytestmark = pytest.mark.stack
Addresses = tuple[str, str]


@pytest.fixture(scope="module")
def scripted(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A second gateway of the running platform, with a planner of its own: its URL, and where gRPC is."""
    endpoint = ScriptedEndpoint(script=SCRIPT)
    log = tmp_path_factory.mktemp("gateway") / "log"
    with serving_in_a_thread(endpoint), gateway_with_planner(stack.address, endpoint.url, log) as addresses:
        yield addresses
    assert not endpoint.problems


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def way(request: Any, scripted: Addresses) -> Iterator[Way]:
    with request.param(*scripted) as way:
        yield way


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with stack.client() as client:
        yield Platform(client)


@pytest.mark.parametrize("conversation", FOR_EVERY_CLIENT, ids=lambda one: one.name)
def test_every_client_has_the_same_conversations_on_the_real_platform(
    way: Way, platform: Platform, conversation: Conversation
) -> None:
    skip_without_weights(platform, conversation)
    conversation.have(way, platform)


@pytest.mark.parametrize("conversation", COMPOSED, ids=lambda one: one.name)
def test_composed_wishes_of_the_paper_are_met(
    scripted: Addresses, platform: Platform, conversation: Conversation
) -> None:
    skip_without_weights(platform, conversation)
    with openai_way(*scripted) as way:
        conversation.have(way, platform)


@pytest.mark.parametrize("conversation", dict.fromkeys((*FOR_EVERY_CLIENT, *COMPOSED)), ids=lambda one: one.name)
def test_the_profiles_own_planner_leads_what_it_has_learned(
    stack: Stack, platform: Platform, conversation: Conversation
) -> None:
    skip_without_weights(platform, conversation)
    planner = load_profile(PROFILE).planner
    if planner is None:
        pytest.skip(f"the profile {PROFILE} has no planner")
    strange = sorted(conversation.needs - set(planner.learned or planner.skills or ()))
    if strange:
        pytest.skip(f"the embedded planner has not learned {', '.join(strange)} yet: see planner/weights/embedded")
    with openai_way(stack.address, "") as way:
        conversation.have(way, platform)


def test_all_tools_look_at_the_picture_before_the_planner_is_asked(scripted: Addresses, platform: Platform) -> None:
    scene, (url, _) = Scene(GRASS), scripted
    question = {"role": "user", "content": openai_content(TAG, [scene.data], [])}
    asked = {"messages": [question], "mode": "all_tools", "debug": True}
    with httpx.Client(base_url=url, timeout=180.0, trust_env=False) as client:
        answers = [client.post("/v1/chat/completions", json=asked).json() for _ in range(2)]
    before, *planned = answers[0]["debug"]["steps"]
    found = {call["skill"]: call["result"] for call in before["results"] if "result" in call}
    assert (before["kind"], [step["kind"] for step in planned]) == ("all_tools", ["plan", "plan"])
    assert found.keys() >= {"easyocr", "ram"} & platform.offers()
    assert tags_are_right(found["ram"]["tags"])
    assert "ram" in answers[0]["cached"], "what the plan asks for was found a moment ago"
    assert set(answers[1]["cached"]) >= found.keys(), "an equal question is answered from the cache"


def skip_without_weights(platform: Platform, conversation: Conversation) -> None:
    missing = sorted(conversation.needs - platform.offers())
    if missing:
        wanted = ", ".join(f"embedded:{name}" for name in missing)
        pytest.skip(f"checkpoints that are not in services/embedded/weights and the embedded profile yet: {wanted}")
