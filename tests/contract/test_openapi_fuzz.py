"""What the OpenAPI document promises holds for whatever is sent: Schemathesis makes it up.

A small number of requests here; `make fuzz-api` sends more than 5,000.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from gateway_fakes import FakePlanner, FakeWeb, data_url, picture, question

from tests.contract import fuzz_hooks
from tests.contract.conftest import served
from tests.documented_skills import DocumentedSkills

pytest.importorskip("schemathesis")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
"""Requests made up for each operation. From 50 on, the borders of every field are tried too."""
FULL = EXAMPLES >= 50
REQUESTS_MIN = 5_000 if FULL else 100
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
_COUNTED = re.compile(
    r'llava_plus_requests_total\{.*route="(?P<route>[^"]*)".*status="(?P<status>\d+)".*\} (?P<count>\S+)'
)


@pytest.mark.timeout(3600)
def test_no_request_that_is_made_up_gets_a_5xx_or_an_answer_that_is_not_documented(redis_url: str) -> None:
    skills, web = DocumentedSkills(), FakeWeb()
    with (
        served(redis_url, skills, FakePlanner(), web, skills.with_store) as (url, _),
        httpx.Client(base_url=url, timeout=60.0) as client,
    ):
        body = {"messages": [question("What is it?", data_url(picture()))]}
        names = {
            fuzz_hooks.HANDLE: client.post("/v1/images", files={"file": picture()}).json()["id"],
            "FUZZ_SESSION": client.post("/v1/chat/completions", json=body).json()["session_id"],
            "FUZZ_JOB": client.post("/v1/jobs", json={"chat": body}).json()["id"],
        }
        before = statuses(client)
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("st")),
                "run",
                f"{url}/openapi.json",
                f"--checks={','.join(CHECKS)}",
                f"--max-examples={EXAMPLES}",
                f"--phases={'coverage,fuzzing,stateful' if FULL else 'fuzzing'}",
                "--seed=1",
                "--generation-database=none",
                "--request-timeout=60",
                "--continue-on-failure",
                "--no-color",
            ],
            env={**os.environ, **names, "SCHEMATHESIS_HOOKS": "tests.contract.fuzz_hooks", "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
        )
        seen = statuses(client) - before
    sys.stdout.write(f"{done.stdout}\nAnswers by status: {dict(seen)}, {seen.total()} in all\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [status for status in seen if status >= 500]
    assert seen.total() >= REQUESTS_MIN
    assert seen[200] > seen.total() / 20, "most of what was sent was refused at the door"


def statuses(client: httpx.Client) -> Counter[int]:
    found: Counter[int] = Counter()
    for counted in _COUNTED.finditer(client.get("/metrics").text):
        if counted["route"] not in ("/metrics", "/healthz"):
            found[int(counted["status"])] += int(float(counted["count"]))
    return found
