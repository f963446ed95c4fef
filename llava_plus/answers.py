"""Good responses, read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from llava_plus.errors import UnexpectedAnswer

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


def model_of(response: httpx.Response, model: type[M]) -> M:
    """Raises UnexpectedAnswer: the body is another server's."""
    return read(response, lambda: model.model_validate_json(response.content))


def read(response: httpx.Response, reader: Callable[[], T]) -> T:
    """What `reader` makes of the body.

    Raises:
        UnexpectedAnswer: it cannot.
    """
    try:
        return reader()
    except (ValidationError, ValueError, LookupError, TypeError) as error:
        raise UnexpectedAnswer(
            f"{response.request.url} answered something that is not this API's: check the address."
        ) from error
