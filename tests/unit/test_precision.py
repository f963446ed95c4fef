from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.core.precision import native_dtype
from services.models.mixed_precision import in_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512f", "float32"), ("fpu avx512_bf16", "bfloat16"), ("fpu amx_bf16 amx_tile", "bfloat16")],
)
def test_bfloat16_is_used_where_the_cpu_computes_in_it(tmp_path: Path, flags: str, expected: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    assert native_dtype(cpu_info=info) == expected


def test_a_cpu_that_says_nothing_gets_float32(tmp_path: Path) -> None:
    assert native_dtype(cpu_info=tmp_path / "none") == "float32"


def test_an_accelerator_computes_in_bfloat16(tmp_path: Path) -> None:
    assert native_dtype("cuda:0", tmp_path / "none") == "bfloat16"


class Reader(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        said = self.linear(picture)
        return said, said.argmax(-1)


def test_a_network_computes_in_another_precision_and_answers_as_before() -> None:
    picture = torch.randn(8, 4)
    network = Reader()
    before, where = network(picture)
    computed = []
    network.linear.register_forward_hook(lambda module, given, said: computed.append(said.dtype))
    after, also = in_precision(network, torch.bfloat16, "cpu")(picture)
    assert computed == [torch.bfloat16]
    assert (after.dtype, also.dtype) == (torch.float32, where.dtype)
    assert network.linear.weight.dtype is torch.float32
    torch.testing.assert_close(after, before, atol=0.05, rtol=0.05)


def test_a_network_that_computes_in_float32_is_left_as_it_is() -> None:
    network = Reader()
    forward = network.forward
    assert in_precision(network, torch.float32, "cpu").forward == forward
