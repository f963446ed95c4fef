"""The README's examples of the Python client and the command line, word for word, with the real skills' schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog
from PIL import Image
from typer.testing import CliRunner

from deploy.cli.main import app
from services.core.registry import discover
from services.core.types import MaskRLE
from tests.contract.conftest import served
from tests.contract.vision_fakes import ToldPlanner
from tests.e2e.test_readme import block
from tests.orchestration_fakes import Skills

ROOT = Path(__file__).parents[2]
SPECS = sorted(discover().specs(), key=lambda spec: spec.name)
MASK = MaskRLE.from_array(np.eye(40, 60, dtype=bool)).model_dump(mode="json")
FOUND = {"boxes": [[0.1, 0.2, 0.5, 0.6]], "size": {"width": 60, "height": 40}}
NAMED = FOUND | {"phrases": ["pig"], "logits": [0.9]}


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    results = {
        "grounding_dino": NAMED,
        "grounding_dino+sam": NAMED | {"masks_rle": [MASK]},
        "sam": FOUND | {"masks_rle": [MASK], "iou": [0.8]},
    }
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with served(redis_url, Skills(results, offered=SPECS), ToldPlanner()) as (url, _):
        yield url
    structlog.reset_defaults()


def printed(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_client(url: str) -> None:
    script = block("python-client")
    assert script.count("http://127.0.0.1:8000") == 1
    said = printed([sys.executable, "-c", script.replace("http://127.0.0.1:8000", url)])
    assert said.startswith(
        "1 new picture(s). You asked: What does this poster say?\n0 new picture(s). You asked: Thank"
    )
    assert said.endswith("pig Box(x0=0.1, y0=0.2, x1=0.5, y1=0.6) 2% of the picture\n")


def test_the_command_line(url: str, tmp_path: Path) -> None:
    script = block("command-line")
    for name in ("found.png", "mask.png"):
        assert script.count(name) == 1
        script = script.replace(name, str(tmp_path / name))
    said = printed(["bash", "-euo", "pipefail", "-c", script], LLAVA_PLUS_URL=url)
    assert said.splitlines()[:6] == [
        "1 new picture(s). You asked: What does this poster say?",
        "1  pig  0.90  6,8 to 30,24",
        f"saved: {tmp_path / 'found.png'}",
        "1  0.80  6,8 to 30,24  1.7% of the picture",
        f"saved: {tmp_path / 'mask.png'}",
        "sam",
    ]
    with Image.open(tmp_path / "found.png") as drawn, Image.open(ROOT / "docs/examples/meadow.webp") as meadow:
        assert drawn.size == meadow.size
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.size == (60, 40)


@pytest.mark.parametrize("name", [spec.name for spec in SPECS])
def test_every_skill_has_a_command_with_its_arguments(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_PLUS_URL", url)
    monkeypatch.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["call", name, "--help"])
    assert shown.exit_code == 0, shown.output
    spec = next(spec for spec in SPECS if spec.name == name)
    for argument in spec.args_schema().get("properties", {}):
        assert f"--{argument.replace('_', '-')} " in shown.stdout
    described = CliRunner().invoke(app, ["tools", name, "--json"])
    assert json.loads(described.stdout)["name"] == name
