"""What the platform promises, through the whole real stack."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import time
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from PIL import Image, ImageDraw, ImageFont

from deploy.state_dir import StateDir
from planner.eval.texts import POSTER_LINES as LINES_AS_READ
from tests.e2e.conftest import ROOT, Stack
from tests.second_gateway import gateway_process, wait_until_ready

# Its last line is printed on two, and read as two.
POSTER_LINES = [*LINES_AS_READ[:-2], " ".join(LINES_AS_READ[-2:])]
OWN_POSTER = ROOT / "docs" / "examples" / "poster.png"

pytestmark = pytest.mark.stack


def found(lines: list[str]) -> int:
    """How many of the poster's lines are among `lines`, with a similarity of at least 0.9 each."""
    joined = [*lines, *(f"{first} {second}" for first, second in pairwise(lines))]
    return sum(
        any(SequenceMatcher(None, expected.lower(), line.strip().lower()).ratio() >= 0.9 for line in joined)
        for expected in POSTER_LINES
    )


def ask(client: httpx.Client, text: str, picture: bytes | None = None, **extra: Any) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if picture is not None:
        url = "data:image/png;base64," + base64.b64encode(picture).decode()
        content.append({"type": "image_url", "image_url": {"url": url}})
    body = {"model": "llava-plus", "messages": [{"role": "user", "content": content}], **extra}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert isinstance(answer, dict)
    return answer


def called(answer: dict[str, Any]) -> list[str]:
    return [action["API_name"] for step in answer["debug"]["steps"] for action in step["actions"]]


def words(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_the_chat_reads_a_real_poster(stack: Stack, poster: bytes) -> None:
    with stack.client() as client:
        answer = ask(client, "What does this poster say?", poster, debug=True)
    assert called(answer) == ["easyocr"]
    assert found(words(answer).splitlines()) >= 8, words(answer)


def test_the_tool_finds_the_posters_lines_with_boxes(stack: Stack, poster: bytes) -> None:
    with stack.client() as client:
        handle = client.post("/v1/images", files={"file": ("poster.png", poster)}).json()["id"]
        answer = client.post("/v1/tools/easyocr", json={"image": handle})
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    assert found(result["texts"]) >= 10, result["texts"]
    assert result["size"] == {"width": 905, "height": 480}
    assert len(result["boxes"]) == len(result["texts"]) == len(result["scores"])
    assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in result["boxes"])


def test_a_greeting_with_a_picture_calls_no_tool(stack: Stack) -> None:
    with stack.client() as client:
        answer = ask(client, "Hello, who are you?", OWN_POSTER.read_bytes(), debug=True)
    assert called(answer) == []
    assert words(answer).strip()


def test_a_second_question_needs_no_new_upload(stack: Stack) -> None:
    client = OpenAI(base_url=f"{stack.address}/v1", api_key="unused", timeout=180, max_retries=0)
    with client:
        hello: Any = client.chat.completions.create(
            model="llava-plus",
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Hello, who are you?"},
                        {
                            "type": "image_url",
                            "image_url": {
                                "url": "data:image/png;base64," + base64.b64encode(OWN_POSTER.read_bytes()).decode()
                            },
                        },
                    ],
                }
            ],
        )
        stream = client.chat.completions.create(
            model="llava-plus",
            messages=[{"role": "user", "content": "What does this poster say?"}],
            stream=True,
            extra_body={"session_id": hello.session_id},
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "Summer Book Fair" in "".join(pieces)
    assert len([piece for piece in pieces if piece]) > 3, "the answer arrives in pieces while it is written"


def test_pictures_and_sessions_survive_a_restart_of_the_gateway(stack: Stack) -> None:
    with stack.client() as client:
        hello = ask(client, "Hello, who are you?", OWN_POSTER.read_bytes())
        gateway = gateway_process(stack.address)
        gateway.send_signal(signal.SIGKILL)
        gateway.wait(timeout=10)
        wait_until_ready(client)
        session = client.get(f"/v1/sessions/{hello['session_id']}")
        answer = client.post("/v1/tools/easyocr", json={"image": hello["images"][0]})
    assert session.status_code == 200
    assert "Summer Book Fair" in answer.json()["result"]["texts"]


def test_a_page_too_long_for_the_planner_is_given_as_read_and_the_conversation_goes_on(stack: Stack) -> None:
    buffer = io.BytesIO()
    page = Image.new("RGB", (1000, 1300), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=17)
    for row in range(48):
        draw.text(
            (20, 20 + row * 26),
            f"{row:02d} " + " ".join(f"{row * 7919 + n * 104729:08x}" for n in range(9)),
            "black",
            font,
        )
    page.save(buffer, "PNG")
    with stack.client() as client:
        dense = ask(client, "What does this page say?", buffer.getvalue())
        after = ask(client, "Hello, who are you?", session_id=dense["session_id"])
    assert dense["choices"][0]["finish_reason"] == "length"
    assert len(words(dense).splitlines()) > 30
    assert words(after).strip()


def test_one_request_id_runs_from_the_gateway_to_the_skill(stack: Stack) -> None:
    request_id = f"trace-{os.getpid()}-{time.monotonic_ns()}"
    with stack.client() as client:
        handle = client.post("/v1/images", files={"file": ("poster.png", OWN_POSTER.read_bytes())}).json()["id"]
        headers = {"X-Request-ID": request_id, "Cache-Control": "no-cache"}
        answer = client.post("/v1/tools/easyocr", json={"image": handle}, headers=headers)
    assert answer.headers["X-Request-ID"] == request_id
    run = StateDir(stack.state).read()
    assert run is not None
    folders = (stack.state, Path(run.run_dir))
    # The gateway writes its line when the answer has left.
    give_up = time.monotonic() + 10.0
    seen = set[str]()
    while not {"gateway", "skill"} <= seen and time.monotonic() < give_up:
        seen = {event["component"] for folder in folders for event in lines_with(folder, request_id)}
        time.sleep(0.05)
    assert {"gateway", "skill"} <= seen


def lines_with(state: Path, text: str) -> list[dict[str, Any]]:
    logs = [path for path in state.rglob("*") if path.is_file() and path.suffix in (".log", ".err", ".out")]
    lines = [line for path in logs for line in path.read_text(errors="replace").splitlines()]
    return [json.loads(line) for line in lines if text in line and line.startswith("{")]
