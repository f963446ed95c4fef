from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import skills
from benchmarks.random_weights import with_random_weights

FAST = ["--batch", "1,3", "--seconds", "0", "--repeats", "2", "--size", "16"]


@pytest.mark.parametrize(
    ("name", "args"), [("Looker", []), ("Sketcher", []), ("Doubler", ["--args", json.dumps({"text": "hello"})])]
)
def test_skills_and_composites_are_measured_without_ray(
    name: str, args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    command = ["skills", "--skill", f"tests.skill_examples:{name}", *FAST, *args, "--output", str(report)]
    monkeypatch.setattr(sys, "argv", command)
    skills.main()
    rows = json.loads(report.read_text())["rows"]
    assert [row["batch"] for row in rows] == [1, 3]
    assert all(row["per_second"] > 0 and row["p95_ms"] >= row["median_ms"] >= 0 for row in rows)
    assert all(row["memory_mib"] > 10 for row in rows)
    assert "p95 ms" in capsys.readouterr().out


def test_random_weights_are_made_for_a_configuration_and_load(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        architectures=["BertModel"],
    )
    config.save_pretrained(tmp_path / "config")
    made = [with_random_weights(tmp_path / "config", tmp_path / str(turn)) for turn in range(2)]
    first, second = (
        transformers.BertModel.from_pretrained(folder).embeddings.word_embeddings.weight for folder in made
    )
    assert (first == second).all()


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="neither"):
        with_random_weights(tmp_path / "empty", tmp_path / "made")
