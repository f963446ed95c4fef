"""Weights as research projects publish them: one `.pth` with a state dict, sometimes wrapped, never run as code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.core.errors import SkillFailed

ORIGINAL_SUFFIXES = (".pth", ".pt")
_WRAPPERS = ("model", "state_dict", "ema_state_dict")
_PARALLEL = "module."


def is_original_file(source: str) -> bool:
    """Whether a checkpoint is a project's own file rather than a folder or hub id for `from_pretrained`."""
    return source.endswith(ORIGINAL_SUFFIXES) and Path(source).is_file()


def read_state(source: str) -> dict[str, Any]:
    """The tensors of a `.pth` by name, without wrapper and without the prefix that data-parallel training leaves.

    The file is mapped into memory, not read, and nothing in it is executed.

    Raises:
        SkillFailed: the file is not what it should be; the message says why.
    """
    import pickle

    import torch

    name = Path(source).name
    try:
        stored = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise SkillFailed(f"{name} holds more than tensors, so it is not loaded: keep its state dict alone.") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise SkillFailed(f"{name} cannot be read as PyTorch weights: download it again.") from error
    for wrapper in _WRAPPERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(wrapper), Mapping):
            stored = stored[wrapper]
    if not (isinstance(stored, Mapping) and stored and all(hasattr(value, "shape") for value in stored.values())):
        raise SkillFailed(f"{name} holds no state dict: give the file that the project publishes.")
    return {str(key).removeprefix(_PARALLEL): value for key, value in stored.items()}


def counted(state: Mapping[str, Any], prefix: str) -> int:
    """How many numbered modules follow a prefix, such as `blocks.`: 1 + the highest number."""
    numbers = [
        int(head) for key in state if key.startswith(prefix) and (head := key[len(prefix) :].split(".")[0]).isdigit()
    ]
    return max(numbers, default=-1) + 1


def require(state: Mapping[str, Any], key: str, project: str) -> Any:
    """A tensor that the project's files always have.

    Raises:
        SkillFailed: it is not there, so that the file is another model's.
    """
    if key not in state:
        raise SkillFailed(f"These are no {project} weights: {key} is missing.")
    return state[key]


def built(model_class: Any, config: Any, state: Mapping[str, Any], project: str) -> Any:
    """A transformers model with exactly these weights.

    Raises:
        SkillFailed: a tensor is missing, left over or of another shape.
    """
    model, report = model_class.from_pretrained(
        None, config=config, state_dict=dict(state), output_loading_info=True, ignore_mismatched_sizes=True
    )
    wrong = [f"{kind} {sorted(map(str, report[kind]))[0]}" for kind in _WRONG if report[kind]]
    if wrong:
        raise SkillFailed(f"The {project} weights do not fit the model: {'; '.join(wrong)}.")
    return model


_WRONG = ("missing_keys", "unexpected_keys", "mismatched_keys")
