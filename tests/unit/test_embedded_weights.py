"""The weights that the repository carries: small enough for it, and each with where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.embedded.training.publish import CARD, FILE_BYTES_MAX, LICENCE, weights_folder

ROOT = Path(__file__).parents[2]
ALL_BYTES_MAX = 120 * 10**6
CHECKPOINTS = sorted(folder.parent.name for folder in weights_folder().glob(f"*/{CARD}"))


def test_weights_stay_within_what_the_repository_takes() -> None:
    files = [
        file
        for folder in (weights_folder(), ROOT / "planner" / "weights")
        for file in folder.rglob("*.safetensors")
        if not file.is_symlink()
    ]
    sizes = {str(file.relative_to(ROOT)): file.stat().st_size for file in files}
    assert not {name: size for name, size in sizes.items() if size > FILE_BYTES_MAX}
    assert sum(sizes.values()) <= ALL_BYTES_MAX, sizes


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_says_what_it_was_made_from_and_how_well_it_does(name: str) -> None:
    card = json.loads((weights_folder() / name / CARD).read_text(encoding="utf-8"))
    curve = json.loads((weights_folder() / name / "curve.json").read_text(encoding="utf-8"))
    assert card["licence"] == LICENCE
    assert (ROOT / card["recipe"]).is_file()
    assert card["dev"][card["metric"]] > 0
    assert curve["points"] if isinstance(curve, dict) else curve
    assert any((weights_folder() / name).rglob("*.safetensors"))
