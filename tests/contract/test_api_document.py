"""docs/api.md is what the code would make, and every example in it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from gateway_fakes import FakePlanner

from gateway.document.__main__ import PAGE
from gateway.document.examples import URL
from gateway.document.page import current_page
from services.core.registry import discover
from tests.contract.conftest import served
from tests.documented_skills import DocumentedSkills

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == current_page(), "docs/api.md is not up to date: run `make docs-api`"


def test_the_page_has_every_tool_and_every_link_leads_somewhere() -> None:
    page = PAGE.read_text()
    headings = {heading.lower() for heading in re.findall(r"^##+ (.*)$", page, re.MULTILINE)}
    assert {spec.name for spec in discover().specs()} <= headings
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links <= headings


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: apt-get install curl")
def test_every_example_runs(redis_url: str) -> None:
    examples = CODE.findall(PAGE.read_text())
    assert len(examples) > 30
    skills = DocumentedSkills()
    with served(redis_url, skills, FakePlanner(), skills_with=skills.with_store) as (url, _):
        steps = [f"echo {number}\n{example}echo\n" for number, example in enumerate(examples)]
        script = "curl() { command curl --fail-with-body --max-time 30 --noproxy '*' \"$@\"; }\n" + "".join(steps)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(URL, url)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "data: [DONE]" in done.stdout
    assert '"tool":"seem"' in done.stdout
    assert '"edited_image":"img_' in done.stdout
