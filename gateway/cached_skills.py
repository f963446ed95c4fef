"""Skill calls answered from a cache that all gateways share: same pictures, weights and arguments, same result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from gateway.errors import StateUnavailable
from gateway.ports import CallContext, ImageStore, SkillClient, SkillOutcome
from services.core.errors import ImageNotFound
from services.core.spec import SkillSpec, Symbol

SEED = "seed"
"""An argument of this name says that a call is repeatable only when it is given."""
_BETWEEN_CHECKPOINTS = " + "


class ResultsCache(Protocol):
    """Bytes under a digest, for a while; `gateway.state.results.RedisResultsCache` in production."""

    async def get(self, digest: str) -> bytes | None: ...

    async def put(self, digest: str, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Weights:
    """What a deployment answers a skill's calls with: its checkpoints (those of its parts), and its other settings.

    Which checkpoint answered is known for certain only from the reply. A result from another one (an update that is
    under way) is not kept.
    """

    checkpoints: frozenset[str]
    settings: str = ""


class _Entry(BaseModel):
    """A cached outcome."""

    model_config = ConfigDict(extra="forbid")

    result: dict[str, Any]
    checkpoint: str
    pictures: dict[str, str]


class CachedSkills:
    """Implements `gateway.ports.SkillClient` around another one.

    Pictures are part of the key by handle, so that a result is found by their owner alone; the owner is part of it
    too, since handles in the result are his.

    Args:
        skills: makes the calls that are not in the cache.
        images: tells whether the pictures of a cached result are still there.
        weights: by skill; the calls of a skill that is not in it are not cached.
    """

    def __init__(
        self, skills: SkillClient, cache: ResultsCache, images: ImageStore, weights: Mapping[str, Weights]
    ) -> None:
        self._skills = skills
        self._cache = cache
        self._images = images
        self._weights = weights
        self._log = structlog.get_logger("gateway.results")

    def specs(self) -> Sequence[SkillSpec]:
        return self._skills.specs()

    def resolve(self, name: str) -> SkillSpec:
        return self._skills.resolve(name)

    async def ready(self) -> Mapping[str, bool]:
        return await self._skills.ready()

    async def warm(self, skill: str) -> None:
        await self._skills.warm(skill)

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        """See `SkillClient.call`. `context.fresh` skips the cache, and renews what it holds."""
        spec = self._skills.resolve(skill)
        key = self._key(spec, args, images, context)
        if key is None:
            return await self._skills.call(skill, args, images, context)
        found = None if context.fresh else await self._found(key, spec, context)
        if found is not None:
            return found
        outcome = await self._skills.call(skill, args, images, context)
        await self._keep(key, outcome)
        return outcome

    def _key(
        self, spec: SkillSpec, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> str | None:
        """None for calls that are not repeatable, or wrong."""
        weights = self._weights.get(spec.name)
        if weights is None:
            return None
        try:
            canonical = spec.args_model.model_validate(args).model_dump(mode="json")
        except ValidationError:
            return None
        if SEED in canonical and canonical[SEED] is None:
            return None
        what = {
            "owner": context.owner,
            "skill": spec.name,
            "version": spec.version,
            "checkpoints": sorted(weights.checkpoints),
            "settings": weights.settings,
            "images": sorted((str(symbol), handle) for symbol, handle in images.items()),
            "args": sorted(canonical.items()),
        }
        return hashlib.sha256(to_json(what, inf_nan_mode="strings")).hexdigest()

    async def _found(self, key: str, spec: SkillSpec, context: CallContext) -> SkillOutcome | None:
        try:
            stored = await self._cache.get(key)
            if stored is None:
                return None
            entry = _Entry.model_validate_json(stored)
            for handle in entry.pictures.values():
                await self._images.info(handle, owner=context.owner)
        except (ImageNotFound, ValidationError):
            return None
        except StateUnavailable:
            self._log.warning("results_cache_away", skill=spec.name)
            return None
        return SkillOutcome(spec.name, entry.result, entry.checkpoint, 0.0, 0.0, pictures=entry.pictures, cached=True)

    async def _keep(self, key: str, outcome: SkillOutcome) -> None:
        expected = self._weights[outcome.skill].checkpoints
        if not set(outcome.checkpoint.split(_BETWEEN_CHECKPOINTS)) <= expected:
            self._log.info("result_of_other_weights", skill=outcome.skill, checkpoint=outcome.checkpoint)
            return
        entry = _Entry(result=outcome.result, checkpoint=outcome.checkpoint, pictures=dict(outcome.pictures))
        try:
            await self._cache.put(key, entry.model_dump_json().encode())
        except StateUnavailable:
            self._log.warning("results_cache_away", skill=outcome.skill)
