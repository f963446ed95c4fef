"""The arguments of a planned call: valid as far as they are known, and filled with what the person marked."""

from __future__ import annotations

from pydantic import ValidationError

from gateway.orchestrator.planned import PlannedCall
from gateway.orchestrator.references import USER, references_in
from gateway.orchestrator.shapes import field_named
from gateway.state.models import Marks
from services.core.errors import BadArguments

MARKED = frozenset({"boxes", "points", "point", "point_labels"})
"""Arguments that a person's marks fill where an action names none of them."""


def validate(call: PlannedCall) -> None:
    """What is known of the arguments now is valid; those with references are checked again when they run."""
    spec = call.known_spec
    later = {name for name, value in call.args.items() if any(references_in(value))}
    later |= {known for name in later if (known := field_named(spec.args_model, name))}
    unknown = [name for name in call.args if field_named(spec.args_model, name) is None]
    if unknown:
        fields = ", ".join(spec.args_model.model_fields) or "none"
        raise BadArguments(f"{spec.name} has no argument {unknown[0][:60]!r}; it takes: {fields}.", argument=unknown[0])
    try:
        spec.args_model.model_validate({name: value for name, value in call.args.items() if name not in later})
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            if one["loc"] and one["loc"][0] not in later:
                argument = ".".join(str(part) for part in one["loc"])
                raise BadArguments(f"{spec.name}: argument {argument}: {one['msg']}.", argument=argument) from None
        if not later:
            raise BadArguments.from_validation(spec.name, error) from None


def with_marks(call: PlannedCall, marks: Marks) -> None:
    """What a person marked fills the arguments that are meant for it, where an action names none of them."""
    fields, given = call.known_spec.args_model.model_fields, marks.given()
    if any(field_named(call.known_spec.args_model, name) in MARKED for name in call.args):
        return
    if "boxes" in given and "boxes" in fields:
        call.args["boxes"] = f"${USER}.boxes"
    elif "points" in given:
        for name in MARKED & fields.keys() - {"boxes"}:
            mark = "points" if name == "point" else name
            if mark in given:
                call.args[name] = f"${USER}.{mark}"
