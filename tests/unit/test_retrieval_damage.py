from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from services.retrieval import structure
from services.retrieval.errors import RetrievalError
from services.retrieval.index import RetrievalIndex
from tests.retrieval_examples import ENCODER, build, facts

pytest.importorskip("faiss", reason="searches with FAISS")


def unreadable(path: Path) -> None:
    path.write_bytes(b"something else" * 100)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("name", "damage", "complaint"),
    [
        ("metadata.sqlite", unreadable, r"metadata\.sqlite is damaged"),
        ("metadata.sqlite", cut_in_half, r"metadata\.sqlite is damaged"),
        ("metadata.sqlite", Path.unlink, r"metadata\.sqlite or vectors\.f16 is missing"),
        ("vectors.f16", cut_in_half, r"vectors\.f16 is cut off"),
        ("vectors.f16", Path.unlink, r"metadata\.sqlite or vectors\.f16 is missing"),
        ("index.faiss", cut_in_half, r"index\.faiss is missing or damaged"),
        ("manifest.json", cut_in_half, r"manifest\.json cannot be read"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_added_to_what_is_left(
    tmp_path: Path, name: str, damage: Callable[[Path], None], complaint: str
) -> None:
    build(tmp_path, facts(50))
    damage(tmp_path / name)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "manifest.json"}
    with pytest.raises(RetrievalError, match=complaint):
        RetrievalIndex(tmp_path, ENCODER.fingerprint)
    with pytest.raises(RetrievalError, match=complaint):
        build(tmp_path, facts(50))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "manifest.json"} == left


def test_metadata_that_lost_entries_is_not_filled_up(tmp_path: Path) -> None:
    build(tmp_path, facts(5))
    (tmp_path / "metadata.sqlite").write_bytes(b"")
    vectors = (tmp_path / "vectors.f16").read_bytes()
    with pytest.raises(RetrievalError, match=r"holds 0 entries of 5\. Build the index again"):
        build(tmp_path, ["new"])
    assert (tmp_path / "vectors.f16").read_bytes() == vectors


def test_entries_without_a_manifest_are_not_mixed_with_another_clips(tmp_path: Path) -> None:
    build(tmp_path, facts(5))
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(RetrievalError, match="its manifest is missing"):
        build(tmp_path, ["new"])


def test_the_structure_of_another_index_is_not_added_to(tmp_path: Path) -> None:
    build(tmp_path, facts(5))
    structure.write(structure.trained(np.zeros((3, 8), dtype=np.float16)), tmp_path)
    with pytest.raises(RetrievalError, match=r"index\.faiss is missing or damaged"):
        build(tmp_path, ["new"])
