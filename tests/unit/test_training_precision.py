"""Attention in training on a CPU."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from services.embedded.training.precision import attention_for_training


def gradients(dtype: torch.dtype, *, bf16: bool) -> torch.Tensor:
    query = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    with attention_for_training("cpu", bf16=bf16):
        seen = scaled_dot_product_attention(query, query, query)
    seen.float().square().sum().backward()
    assert query.grad is not None
    return query.grad.float()


def test_attention_in_steps_learns_what_the_fused_one_learns() -> None:
    exact = gradients(torch.float32, bf16=False)
    torch.testing.assert_close(gradients(torch.bfloat16, bf16=True), exact, atol=0.1, rtol=0.05)


def test_the_fused_kernel_is_not_used_in_bfloat16() -> None:
    with torch.profiler.profile() as seen:
        gradients(torch.bfloat16, bf16=True)
    names = {event.key for event in seen.key_averages()}
    assert "aten::_scaled_dot_product_attention_math" in names
    assert not any("flash" in name for name in names)


def test_torchs_switches_are_as_before_afterwards() -> None:
    def switches() -> tuple[bool, ...]:
        return (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed(),
        )

    before = switches()
    with attention_for_training("cpu", bf16=True):
        assert switches() != before
    assert switches() == before
