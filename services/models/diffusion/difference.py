"""A network's weights as their difference from those of the one it was tuned from, of low rank.

Tuning changes a network along few directions (Hu et al., LoRA, arXiv 2106.09685), so that the difference takes a
fraction of the space. Weights of linear layers and convolutions are kept as two factors by singular value
decomposition, `NAME.up` [out, rank] and `NAME.down` [rank, in], with a convolution's kernel flattened into its inputs;
what would take no less that way, such as biases, as `NAME.whole`. A layer that has more input channels than the base's
is taken to differ from zeros there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from services.core.errors import SkillFailed

if TYPE_CHECKING:
    import torch

    Weights = Mapping[str, torch.Tensor]

FILE = "difference.safetensors"
_UP, _DOWN, _WHOLE = ".up", ".down", ".whole"


def difference(tuned: Weights, base: Weights, rank: int) -> dict[str, torch.Tensor]:
    """What `applied` adds to `base` to get near `tuned`; both by the same names, factors in float32."""
    parts: dict[str, torch.Tensor] = {}
    for name, weight in tuned.items():
        change = weight.detach().float() - _widened(base[name], weight.shape)
        matrix = change.flatten(1) if change.ndim > 1 else change[:, None]
        if rank * sum(matrix.shape) >= matrix.numel():
            parts[name + _WHOLE] = change.contiguous()
            continue
        parts[name + _UP], parts[name + _DOWN] = _factors(matrix, rank)
    return parts


def applied(parts: Weights, base: Weights, shapes: Mapping[str, torch.Size]) -> dict[str, torch.Tensor]:
    """The tuned weights, in float32.

    Args:
        shapes: of the tuned network's weights, by name.

    Raises:
        SkillFailed: the difference is that of another network.
    """
    known = {name.removesuffix(ending) for name in parts for ending in (_UP, _DOWN, _WHOLE) if name.endswith(ending)}
    strange = (known ^ shapes.keys()) | (base.keys() ^ shapes.keys())
    strange |= {name for name in base.keys() & shapes.keys() if not _fits(base[name].shape, shapes[name])}
    if strange:
        raise SkillFailed(
            f"The checkpoint is the difference from another network than `base`: they disagree about {min(strange)}."
        )
    tuned = {}
    for name, shape in shapes.items():
        whole = parts.get(name + _WHOLE)
        change = parts[name + _UP].float() @ parts[name + _DOWN].float() if whole is None else whole.float()
        tuned[name] = _widened(base[name], shape) + change.reshape(shape)
    return tuned


def save_difference(folder: Path, tuned: Weights, base: Weights, rank: int) -> None:
    """Write it to a folder, as `FILE`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(difference(tuned, base, rank), folder / FILE, metadata={"format": "pt"})


def load_difference(folder: Path) -> dict[str, torch.Tensor]:
    """What `save_difference` wrote."""
    from safetensors.torch import load_file

    parts: dict[str, torch.Tensor] = load_file(folder / FILE)
    return parts


def _factors(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    up, sizes, down = torch.linalg.svd(matrix, full_matrices=False)
    # Half of the size goes into each, so that neither leaves the range of half precision.
    root = sizes[:rank].sqrt()
    return (up[:, :rank] * root).contiguous(), (root[:, None] * down[:rank]).contiguous()


def _fits(base: torch.Size, tuned: torch.Size) -> bool:
    """Whether the shapes differ by nothing but further input channels."""
    return base == tuned or (len(tuned) > 1 and (base[0], *base[2:]) == (tuned[0], *tuned[2:]) and base[1] < tuned[1])


def _widened(base: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """`base` in float32, with zeros for input channels that it lacks."""
    if base.shape == shape:
        return base.detach().float()
    wide = base.new_zeros(shape).float()
    wide[:, : base.shape[1]] = base.detach()
    return wide
