"""bfloat16 on a CPU: for a part of a model, as convolutions gain the most from it and boxes need float32; and attention
that trains quickly in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


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


@contextmanager
def attention_for_training(device: str, *, bf16: bool) -> Iterator[None]:
    """On a CPU attention in bfloat16 is computed step by step: the backward pass of PyTorch's fused kernel takes four
    times as long there (48 pictures of 101 tokens, 6 heads of 32: 112 ms against 32 ms on one core). In float32 the
    fused one is the quicker.
    """
    if not bf16 or torch.device(device).type != "cpu":
        yield
        return
    # The switch is named after CUDA and holds for all devices: without it the steps are taken in float32.
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def _as_float(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_as_float(item) for item in value)
    if isinstance(value, dict):  # what models of transformers return is one
        for name, item in value.items():
            value[name] = _as_float(item)
    return value
