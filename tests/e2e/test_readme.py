"""The README's own code blocks, run word for word against a running platform."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from services.core.loading import load_skill
from services.core.skill import SkillCall
from tests.e2e.conftest import ROOT, Stack

README = (ROOT / "README.md").read_text()


def block(name: str) -> str:
    """The code block that follows `<!-- test: name -->`."""
    match = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert match is not None, f"README.md has no block {name!r}"
    return match.group(1)


def run(command: list[str], stack: Stack) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: apt-get install curl")


@needs_curl
@pytest.mark.stack
def test_the_first_chat_with_curl(stack: Stack) -> None:
    script = block("curl-chat").replace("http://127.0.0.1:8000", stack.address)
    answer = json.loads(run(["bash", "-euo", "pipefail", "-c", script], stack))
    assert "Summer Book Fair" in answer["choices"][0]["message"]["content"]


@pytest.mark.stack
def test_the_first_chat_with_the_openai_client(stack: Stack) -> None:
    script = block("openai-chat").replace("http://127.0.0.1:8000", stack.address)
    printed = run([sys.executable, "-c", script], stack)
    assert "Summer Book Fair" in printed


@pytest.mark.stack
def test_the_python_client(stack: Stack) -> None:
    script = block("python-client").replace("http://127.0.0.1:8000", stack.address)
    printed = run([sys.executable, "-c", script], stack)
    assert "Summer Book Fair" in printed
    assert re.search(r"^pig Box\(.*\) \d+% of the picture$", printed, re.MULTILINE)


@pytest.mark.stack
def test_the_command_line(stack: Stack, tmp_path: Path) -> None:
    script = block("command-line")
    for name in ("found.png", "mask.png"):
        script = script.replace(name, str(tmp_path / name))
    environment = {key: value for key, value in stack.environment.items() if key != "LLAVA_PLUS_URL"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Summer Book Fair" in done.stdout
    assert re.search(r"^\d +pig +0\.\d\d  \d+,\d+ to \d+,\d+$", done.stdout, re.MULTILINE)
    assert re.search(r"^1  0\.\d\d  \d+,\d+ to \d+,\d+  \d+\.\d% of the picture$", done.stdout, re.MULTILINE)
    with Image.open(ROOT / "docs/examples/meadow.webp") as meadow:
        for name in ("found.png", "mask.png"):
            with Image.open(tmp_path / name) as written:
                assert written.size == meadow.size


@needs_curl
@pytest.mark.stack
def test_a_single_tool_with_curl(stack: Stack) -> None:
    script = block("curl-tool").replace("http://127.0.0.1:8000", stack.address)
    answer = json.loads(run(["bash", "-euo", "pipefail", "-c", script], stack))
    assert "Summer Book Fair" in answer["result"]["texts"]


@needs_curl
@pytest.mark.stack
def test_an_embedded_skill_with_curl(stack: Stack) -> None:
    script = block("call-tool").replace("http://127.0.0.1:8000", stack.address)
    answer = json.loads(run(["bash", "-euo", "pipefail", "-c", script], stack))
    assert sorted(answer["result"]["phrases"]) == ["koala", "pig"]


def test_the_skill_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "readme_colours.py").write_text(block("add-a-skill"))
    monkeypatch.syspath_prepend(str(tmp_path))
    skill = load_skill("colours", "readme_colours:Colours")
    assert skill.spec().summary.startswith("Names the main colours")
    picture = Image.new("RGB", (40, 40), (255, 0, 0))
    call = SkillCall(args=skill.Args.model_validate({"count": 1}), images={"image": picture})  # type: ignore[dict-item]
    (answer,) = skill().predict([call])
    assert answer.colours == ["#ff0000"]  # type: ignore[union-attr]
