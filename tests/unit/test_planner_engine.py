from __future__ import annotations

from pathlib import Path

import pytest

from planner.engine import native_dtype


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512f", "float32"), ("fpu avx512_bf16", "bfloat16"), ("fpu amx_bf16 amx_tile", "bfloat16")],
)
def test_bfloat16_is_used_where_the_cpu_computes_in_it(tmp_path: Path, flags: str, expected: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    assert native_dtype(info) == expected


def test_a_cpu_that_says_nothing_gets_float32(tmp_path: Path) -> None:
    assert native_dtype(tmp_path / "none") == "float32"
