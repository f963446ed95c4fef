"""Which precision this machine computes fastest in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def native_dtype(device: str = "cpu", cpu_info: Path = Path("/proc/cpuinfo")) -> Literal["float32", "bfloat16"]:
    """bfloat16 where the device has instructions for it: every supported GPU, and some CPUs.

    A CPU without them emulates it, several times slower than float32.

    Args:
        device: torch's name of it.
    """
    if not device.startswith("cpu"):
        return "bfloat16"
    try:
        flags = set(cpu_info.read_text(encoding="ascii", errors="ignore").split())
    except OSError:
        return "float32"
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
