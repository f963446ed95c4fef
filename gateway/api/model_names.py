"""Names of models in the API: the planner's own, and with one of its adapters, `llava-plus:birds`."""

from __future__ import annotations

_SEPARATOR = ":"


def with_adapter(planner: str, adapter: str | None) -> str:
    """The name under which the planner answers with this adapter."""
    return planner if adapter is None else f"{planner}{_SEPARATOR}{adapter}"


def adapter_named(model: str | None, planner: str) -> str | None:
    """The adapter that a request's `model` names. Any other name means the planner as it is: clients send all sorts."""
    before, _, adapter = (model or "").partition(f"{planner}{_SEPARATOR}")
    return adapter or None if not before else None
