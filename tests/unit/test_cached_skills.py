from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.cached_skills import CachedSkills, Weights
from gateway.errors import StateUnavailable
from gateway.orchestrator.events import SkillFinished
from services.core.context import CallContext
from services.core.errors import SkillFailed
from services.core.spec import Symbol
from tests.gateway_fakes import FakeImages, picture
from tests.orchestration_fakes import MAPPED, OTHER, SENT, SPECS, Script, Skills, act, answer, run_turn

WEIGHTS = {spec.name: Weights(frozenset({"weights", "more"})) for spec in SPECS}


class Memory:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.away = False

    async def get(self, digest: str) -> bytes | None:
        if self.away:
            raise StateUnavailable()
        return self.kept.get(digest)

    async def put(self, digest: str, data: bytes) -> None:
        if self.away:
            raise StateUnavailable()
        self.kept[digest] = data


class Cached:
    """Skills behind a cache, and how often they were really called."""

    def __init__(self, weights: dict[str, Weights] | None = None) -> None:
        self.skills, self.memory, self.images = Skills(), Memory(), FakeImages()
        self.client = CachedSkills(self.skills, self.memory, self.images, WEIGHTS if weights is None else weights)

    async def call(
        self, skill: str = "find", *, owner: str = "me", image: str = SENT, fresh: bool = False, **args: Any
    ) -> Any:
        context = CallContext("req-1", owner, time.time() + 30, fresh)
        return await self.client.call(skill, args, {Symbol.IMAGE: image}, context)


async def test_an_equal_call_is_answered_without_the_skill() -> None:
    cached = Cached()
    first = await cached.call(caption="cat")
    again = await cached.call("detector", caption="cat", box_threshold=0.3)
    assert (first.cached, again.cached) == (False, True)
    assert (again.result, again.checkpoint, again.skill) == (first.result, first.checkpoint, first.skill)
    assert len(cached.skills.calls) == 1, "an alias and a default that is written out mean the same call"


@pytest.mark.parametrize("change", [{"caption": "dog"}, {"image": OTHER}, {"owner": "you"}, {"box_threshold": 0.4}])
async def test_another_call_is_not(change: dict[str, Any]) -> None:
    cached = Cached()
    await cached.call(caption="cat")
    assert not (await cached.call(**({"caption": "cat"} | change))).cached


async def test_other_weights_or_settings_are_another_call() -> None:
    cached = Cached()
    await cached.call(caption="cat")
    for weights in (
        Weights(frozenset({"weights", "other"})),
        Weights(frozenset({"weights", "more"}), "half precision"),
    ):
        cached.client = CachedSkills(cached.skills, cached.memory, cached.images, {"find": weights})
        assert not (await cached.call(caption="cat")).cached


async def test_results_of_weights_that_are_not_configured_are_not_kept() -> None:
    cached = Cached({"find": Weights(frozenset({"new"}))})
    await cached.call(caption="cat")
    assert cached.memory.kept == {}


async def test_a_call_that_asks_for_a_fresh_result_renews_the_kept_one() -> None:
    cached = Cached()
    await cached.call(caption="cat")
    cached.skills.results["find"] = cached.skills.results["find"] | {"phrases": ["lynx"]}
    assert (await cached.call(caption="cat", fresh=True)).result["phrases"] == ["lynx"]
    again = await cached.call(caption="cat")
    assert again.cached
    assert again.result["phrases"] == ["lynx"]


async def test_generation_is_kept_only_with_a_seed_and_while_its_picture_is_there() -> None:
    cached = Cached()
    made = (await cached.images.put(picture(), owner="me")).id
    cached.skills.results["edit"] = {"edited_image": made, "size": {"width": 4, "height": 4}}
    for _ in range(2):
        assert not (await cached.call("edit", prompt="night")).cached
    assert not (await cached.call("edit", prompt="night", seed=1)).cached
    again = await cached.call("edit", prompt="night", seed=1)
    assert (again.cached, again.pictures) == (True, {"edited_image": made})
    cached.images.kept.clear()
    assert not (await cached.call("edit", prompt="night", seed=1)).cached


async def test_errors_are_not_kept() -> None:
    cached = Cached()
    cached.skills.results["find"] = SkillFailed("It broke.")
    for _ in range(2):
        with pytest.raises(SkillFailed):
            await cached.call(caption="cat")
    assert len(cached.skills.calls) == 2


async def test_a_cache_that_is_away_is_only_slower() -> None:
    cached = Cached()
    cached.memory.away = True
    assert not (await cached.call(caption="cat")).cached


@pytest.mark.parametrize("broken", [b"nonsense", b'{"result": {}}'])
async def test_an_entry_that_cannot_be_read_is_a_miss(broken: bytes) -> None:
    cached = Cached()
    await cached.call(caption="cat")
    cached.memory.kept = dict.fromkeys(cached.memory.kept, broken)
    assert not (await cached.call(caption="cat")).cached


async def test_a_turn_reports_what_came_from_the_cache() -> None:
    cached = Cached()
    cached.skills.results["map"] = {"image_seg": MAPPED, "size": {"width": 4, "height": 4}}
    for expected in (False, True):
        events, finished = await run_turn(Script(act(("tag", {})), answer()), cached.client)  # type: ignore[arg-type]
        (ended,) = [event for event in events if isinstance(event, SkillFinished)]
        assert (ended.cached, finished.steps[0].results[0]["cached"]) == (expected, expected)
