"""What happens on the way to an answer, for clients that ask for `debug` while they wait."""

from __future__ import annotations

from typing import Any

from gateway.orchestrator.events import SkillFinished, SkillStarted, StepPlanned, TurnEvent


def progress(event: TurnEvent) -> dict[str, Any] | None:
    """A step of the turn as plain data; None for events that the answer itself carries."""
    if isinstance(event, StepPlanned):
        return {"kind": "planned", "skills": [action.API_name for action in event.output.actions]}
    if isinstance(event, SkillStarted):
        return {"kind": "started", "skill": event.skill}
    if isinstance(event, SkillFinished):
        ended = {"cached": event.cached, "failed": event.error is not None, "elapsed_ms": round(event.elapsed_ms, 2)}
        return {"kind": "finished", "skill": event.skill, **ended}
    return None
