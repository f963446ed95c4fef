"""Networks kept as their low-rank difference from others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.core.errors import SkillFailed
from services.models.diffusion.difference import applied, difference, load_difference, save_difference

Weights = dict[str, torch.Tensor]


def drawn(channels: int = 4) -> Weights:
    return {
        "conv.weight": torch.randn(24, channels, 3, 3),
        "conv.bias": torch.randn(24),
        "linear.weight": torch.randn(40, 30),
    }


def changed(base: Weights, rank: int) -> Weights:
    """`base` with a change of that rank in its matrices, and any change in the rest."""
    tuned = {}
    for name, weight in base.items():
        rows, columns = weight.shape[0], weight[0].numel()
        change = torch.randn(rows, rank) @ torch.randn(rank, columns)
        tuned[name] = weight + change.reshape(weight.shape)
    return tuned


def back(parts: Weights, base: Weights, tuned: Weights) -> Weights:
    return applied(parts, base, {name: weight.shape for name, weight in tuned.items()})


def error(parts: Weights, base: Weights, tuned: Weights) -> float:
    return sum(float((weight - tuned[name]).norm()) for name, weight in back(parts, base, tuned).items())


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    torch.manual_seed(0)


def test_a_change_of_the_kept_rank_comes_back_whole_and_takes_less_space() -> None:
    base = drawn()
    tuned = changed(base, 3)
    parts = difference(tuned, base, 3)
    torch.testing.assert_close(back(parts, base, tuned), tuned, atol=1e-4, rtol=1e-4)
    assert sum(part.numel() for part in parts.values()) < 0.4 * sum(weight.numel() for weight in base.values())


def test_more_rank_keeps_more_of_any_change() -> None:
    base, tuned = drawn(), drawn()
    errors = [error(difference(tuned, base, rank), base, tuned) for rank in (1, 4, 12, 40)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 < errors[-2]


def test_input_channels_that_the_base_lacks_are_kept_too() -> None:
    base, tuned = drawn(), drawn(channels=9)
    assert error(difference(tuned, base, 100), base, tuned) < 1e-3


def test_a_file_brings_back_what_was_saved(tmp_path: Path) -> None:
    base = drawn()
    tuned = changed(base, 2)
    save_difference(tmp_path / "unet", tuned, base, 2)
    torch.testing.assert_close(back(load_difference(tmp_path / "unet"), base, tuned), tuned, atol=1e-4, rtol=1e-4)


def test_the_difference_from_another_network_is_refused_by_the_name_of_the_layer() -> None:
    base = drawn()
    parts = difference(changed(base, 2), base, 2)
    other = {name.replace("linear", "dense"): weight for name, weight in base.items()}
    with pytest.raises(SkillFailed, match=r"another network than `base`.*dense\.weight"):
        back(parts, other, base)
    with pytest.raises(SkillFailed, match=r"conv\.weight"):
        back({name: part for name, part in parts.items() if not name.startswith("conv.weight")}, base, base)
    with pytest.raises(SkillFailed, match=r"linear\.weight"):
        back(parts, base | {"linear.weight": torch.zeros(10, 30)}, base)
