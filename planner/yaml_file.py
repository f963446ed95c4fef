"""Configurations in YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

ModelT = TypeVar("ModelT", bound=BaseModel)


def load_yaml(model: type[ModelT], path: Path, mistake: type[Exception]) -> ModelT:
    """Read a file as a model.

    Raises:
        mistake: a field is missing, unknown or out of range, or the file is not YAML; the message names file and field.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise mistake(f"{path}: {where}: {first['msg']}".replace(": : ", ": ")) from None
    except (OSError, yaml.YAMLError) as error:
        raise mistake(f"{path} cannot be read: {' '.join(str(error).split())}") from None
