"""A library's network in another precision than the library expects."""

from __future__ import annotations

from functools import wraps
from typing import Any


def in_precision(network: Any, dtype: Any, device: str) -> Any:
    """The network with its forward pass under autocast to `dtype`; tensors that come out are float32.

    Its weights stay what they are, so that code around it which asks for their type finds what it expects.
    """
    import torch

    if dtype is torch.float32:
        return network
    forward = network.forward
    kind = torch.device(device).type

    @wraps(forward)
    def quick(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(kind, dtype):
            said = forward(*args, **kwargs)
        return _as_float32(said)

    network.forward = quick
    return network


def _as_float32(said: Any) -> Any:
    if isinstance(said, tuple | list):
        return type(said)(_as_float32(item) for item in said)
    return said.float() if said.is_floating_point() else said
