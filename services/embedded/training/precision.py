"""bfloat16 for a part of a model: convolutions gain the most from it, boxes need float32."""

from __future__ import annotations

from typing import Any

import torch


def run_in_bf16(module: torch.nn.Module) -> None:
    """From now on `module` computes under bfloat16 autocast, and what it returns is float32 again.

    The module gets a subclass of its class, so that copies of it (averaged weights) behave alike and
    names in the state dict stay.
    """
    plain = type(module)

    def forward(self: Any, pictures: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(pictures.device.type, torch.bfloat16):
            return _as_float(plain.forward(self, pictures, *args, **kwargs))

    module.__class__ = type(f"Bf16{plain.__name__}", (plain,), {"forward": forward})


def _as_float(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_as_float(item) for item in value)
    if isinstance(value, dict):  # what models of transformers return is one
        for name, item in value.items():
            value[name] = _as_float(item)
    return value
