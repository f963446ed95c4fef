"""Input of any protocol checked against a model, with the same words that HTTP clients get."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.error_handlers import validation_error
from gateway.errors import InvalidRequest

ModelT = TypeVar("ModelT", bound=BaseModel)


def checked(model: type[ModelT], given: Any) -> ModelT:
    """The input as the model.

    Raises:
        InvalidRequest: about the first thing that is wrong; `param` is its path in dots.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = validation_error([{**one, "loc": ("body", *one["loc"])} for one in error.errors()])
        raise InvalidRequest(found.message, param=found.param) from None
