"""LLaVA-Plus' second way: all understanding skills run on the picture before the planner is asked."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from gateway.orchestrator.known import Known
from gateway.state.models import Session
from planner.format import Action
from services.core.spec import SkillSpec, Symbol


def understanding(specs: Sequence[SkillSpec], known: Known, count_max: int) -> list[Action]:
    """Calls of the skills that look at the picture, make no new one, and need to be told nothing.

    Skills with a model of their own come before those made of them; `count_max` bounds the number.
    """
    chosen = [spec for spec in specs if _looks(spec, known) and _needs_nothing(spec)]
    chosen.sort(key=lambda spec: len(spec.parts))
    return [Action(API_name=spec.name) for spec in chosen[:count_max]]


def already_run(session: Session, picture: str | None) -> bool:
    """Whether a turn that is kept has what they found in this picture: the conversation tells it then."""
    records = (
        record for turn in session.turns for step in turn.steps if step.kind == "all_tools" for record in step.results
    )
    found = (record for record in records if record.get("result") is not None)
    return any((record.get("images") or {}).get(str(Symbol.IMAGE)) == picture for record in found)


def _looks(spec: SkillSpec, known: Known) -> bool:
    makes_pictures = Symbol.IMAGE in spec.produces.values()
    return Symbol.IMAGE in spec.consumes and spec.consumes <= known.symbols.keys() and not makes_pictures


def _needs_nothing(spec: SkillSpec) -> bool:
    try:
        spec.args_model.model_validate({})
    except ValidationError:
        return False
    return True
