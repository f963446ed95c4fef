from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from gateway_fakes import fake_parts

from gateway.api.progress import progress
from gateway.api.web.assets import MEDIA_TYPES
from gateway.app import create_app
from gateway.orchestrator.events import AnswerDelta, SkillFinished, SkillStarted, StepPlanned
from planner.format import Action, PlannerOutput

WEB = Path(__file__).parents[2] / "gateway" / "api" / "web"
FILES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.suffix[1:] in MEDIA_TYPES)


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(create_app(fake_parts()))


@pytest.fixture(scope="module")
def folder(client: TestClient) -> str:
    """Where the page's files are, with their version: `/web/VERSION/`."""
    (found,) = set(re.findall(r'"(/web/[0-9a-f]{12}/)', client.get("/").text))
    return found


def test_the_page_may_load_only_its_own_files_and_runs_only_what_its_policy_knows(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    inside = re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", answer.text, flags=re.DOTALL)
    assert len(inside) == 2
    for text in inside:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"<[^>]*\s(?:style|on[a-z]+)=", answer.text)
    assert not re.search(r"(?:src|href)=\"(?!/web/[0-9a-f]{12}/|#)", answer.text)


def test_the_page_is_asked_for_again_each_time(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": f'W/{answer.headers["etag"]}, "other"'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", [path for path in FILES if path != "index.html"])
def test_every_file_is_served_with_its_type_and_may_be_kept(client: TestClient, folder: str, path: str) -> None:
    answer = client.get(f"{folder}{path}")
    assert answer.status_code == 200
    assert answer.content == (WEB / path).read_bytes()
    assert answer.headers["content-type"] == MEDIA_TYPES[path.rpartition(".")[2]]
    assert "immutable" in answer.headers["cache-control"]


def test_files_are_packed_for_browsers_that_take_it(client: TestClient, folder: str) -> None:
    address = f"{folder}js/main.js"
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == (WEB / "js" / "main.js").read_bytes()
    assert "content-encoding" not in client.get(address, headers={"Accept-Encoding": "identity"}).headers


def test_nothing_but_the_page_is_below_its_address(client: TestClient, folder: str) -> None:
    for path in ("__init__.py", "assets.py", "index.html", "js", "js/none.js"):
        assert client.get(f"{folder}{path}").status_code == 404


def test_the_page_fetches_all_its_modules_at_once() -> None:
    page = (WEB / "index.html").read_text()
    asked = re.findall(r'"/web/(js/[^"]+)"', page)
    assert sorted(asked) == [path for path in FILES if path.startswith("js/")]


def test_progress_says_what_a_turn_does_and_leaves_out_the_answer() -> None:
    planned = StepPlanned(PlannerOutput(actions=(Action(API_name="sam", API_params={}),)))
    assert progress(planned) == {"kind": "planned", "skills": ["sam"]}
    assert progress(SkillStarted("sam", {})) == {"kind": "started", "skill": "sam"}
    ended = progress(SkillFinished("sam", 12.345, error={"kind": "skill_failed"}))
    assert ended == {"kind": "finished", "skill": "sam", "cached": False, "failed": True, "elapsed_ms": 12.35}
    assert progress(AnswerDelta("Hello")) is None
