"""Real skills in this process as a source of results for planner data."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

from PIL import Image
from pydantic import ValidationError

from planner.data.inputs import inputs_of
from planner.data.results import Asked, NoResult
from services.core.errors import SkillError
from services.core.registry import Registry
from services.core.skill import SkillCall
from services.core.spec import SkillSpec
from services.embedded.eval.scorer import ScoringFailed
from services.embedded.eval.skills import Skills

PICTURES_MAX = 256
"""Pictures that skills made are kept for later calls of the same conversation, and not longer."""


class LocalResults:
    """Implements `planner.data.results.SkillResults` with the embedded checkpoints."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._skills = Skills()
        self._made: OrderedDict[str, Image.Image] = OrderedDict()

    def close(self) -> None:
        self._skills.close()

    def call(self, asked: Asked) -> dict[str, Any]:
        spec = self._registry.spec(asked.skill)
        try:
            args = spec.args_model.model_validate(dict(asked.args))
            images = {symbol: self._picture(value) for symbol, value in inputs_of(spec, asked).items()}
            result = self._skills.ask(spec.name, [SkillCall(args, images)], 1)[0]
        except (ScoringFailed, SkillError) as error:
            raise NoResult(f"{spec.name} failed: {error}") from None
        except ValidationError:
            raise NoResult(f"{spec.name}: the arguments do not fit its schema") from None
        return self._plain(spec, result)

    def _picture(self, value: Image.Image | str) -> Image.Image:
        if isinstance(value, str):
            return self._made[value]
        return value.convert("RGB") if value.mode not in ("RGB", "L") else value

    def _plain(self, spec: SkillSpec, result: Any) -> dict[str, Any]:
        """The result as data, with handles for pictures, as the gateway gives it."""
        pictures = {name: getattr(result, name) for name in spec.produces}
        handles = {name: self._kept(made) for name, made in pictures.items() if isinstance(made, Image.Image)}
        plain: dict[str, Any] = result.model_copy(update=handles).model_dump(mode="json")
        return plain

    def _kept(self, picture: Image.Image) -> str:
        handle = f"img_{hashlib.sha256(picture.tobytes()).hexdigest()[:40]}"
        self._made[handle] = picture
        while len(self._made) > PICTURES_MAX:
            self._made.popitem(last=False)
        return handle
