"""The examples of docs/api.md; a test runs them in their order, in one shell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from services.core.spec import SkillSpec, Symbol

URL = "http://127.0.0.1:8000"
_JSON = "-H 'Content-Type: application/json'"
_ID = """sed 's/.*"id":"\\([^"]*\\)".*/\\1/'"""
_SESSION = """sed 's/.*"session_id":"\\([^"]*\\)".*/\\1/'"""

START = f"IMAGE=$(curl -s {URL}/v1/images -F file=@docs/examples/meadow.webp | {_ID})"

OF_OPERATIONS: Mapping[str, str] = {
    "POST /v1/chat/completions": f"""ANSWER=$(curl -s {URL}/v1/chat/completions {_JSON} -d '{{"messages": [
  {{"role": "user", "content": [
    {{"type": "text", "text": "What is there?"}},
    {{"type": "image_url", "image_url": {{"url": "'$IMAGE'"}}}}]}}]}}')
SESSION=$(echo "$ANSWER" | {_SESSION})
curl -sN {URL}/v1/chat/completions {_JSON} -d '{{
  "session_id": "'$SESSION'", "stream": true, "messages": [
  {{"role": "user", "content": [
    {{"type": "text", "text": "And what is this?"}},
    {{"type": "boxes", "boxes": [[0.1, 0.2, 0.5, 0.6]]}}]}}]}}'""",
    "GET /v1/tools": f"curl -s {URL}/v1/tools",
    "POST /v1/images": f"curl -s {URL}/v1/images -F file=@docs/examples/poster.png",
    "GET /v1/images/{image_id}": f'curl -s "{URL}/v1/images/$IMAGE?variant=thumbnail" -o /dev/null',
    "GET /v1/images/{image_id}/info": f"curl -s {URL}/v1/images/$IMAGE/info",
    "GET /v1/sessions": f'curl -s "{URL}/v1/sessions?limit=5"',
    "GET /v1/sessions/{session_id}": f'curl -s "{URL}/v1/sessions/$SESSION?debug=true"',
    "POST /v1/sessions/{session_id}/replay": f"curl -s -X POST {URL}/v1/sessions/$SESSION/replay",
    "DELETE /v1/sessions/{session_id}": f"curl -s -X DELETE {URL}/v1/sessions/$SESSION",
    "POST /v1/jobs": f"""JOB=$(curl -s {URL}/v1/jobs {_JSON} -H "Idempotency-Key: picture-of-$IMAGE" -d '
  {{"tool": "stable_diffusion", "input": {{"arguments": {{"prompt": "a koala on a beach", "seed": 1}}}}}}' | {_ID})""",
    "GET /v1/jobs": f"curl -s {URL}/v1/jobs",
    "GET /v1/jobs/{job_id}": f"""until curl -s {URL}/v1/jobs/$JOB | grep -qE '"status":"(succeeded|failed)"'; do
  sleep 0.2
done""",
    "GET /v1/jobs/{job_id}/result": f"curl -s {URL}/v1/jobs/$JOB/result",
    "POST /v1/jobs/{job_id}/cancel": f"curl -s -X POST {URL}/v1/jobs/$JOB/cancel",
    "GET /v1/models": f"MODEL=$(curl -s {URL}/v1/models | {_ID})",
    "GET /v1/models/{model}": f"curl -s {URL}/v1/models/$MODEL",
    "GET /healthz": f"curl -s {URL}/healthz",
    "GET /readyz": f"curl -s {URL}/readyz",
    "GET /metrics": f"curl -s {URL}/metrics",
}

BATCH = f"""curl -s {URL}/v1/tools/grounding_dino/batch {_JSON} -d '{{"inputs": [
  {{"image": "'$IMAGE'", "arguments": {{"caption": "pig"}}}},
  {{"image": "'$IMAGE'", "arguments": {{"caption": "koala"}}}}]}}'"""
OVERLAY = f"""curl -s "{URL}/v1/tools/grounding_dino?render=overlay" {_JSON} -H 'Accept: image/png' -o /dev/null \\
  -d '{{"image": "'$IMAGE'", "arguments": {{"caption": "pig . koala . fish"}}}}'"""

_ARGUMENTS: Mapping[str, dict[str, Any]] = {
    "blip2": {"prompt": "how many animals are there?"},
    "clip_retrieval": {"top_k": 2},
    "controlnet": {"prompt": "a meadow in winter"},
    "grounding_dino": {"caption": "pig . koala . fish"},
    "grounding_dino+sam": {"caption": "pig"},
    "inpainting": {"prompt": "a flower"},
    "instruct_pix2pix": {"prompt": "make it winter"},
    "sam": {"points": [[[0.5, 0.5]]]},
    "semantic_sam": {"point": [[0.5, 0.5]]},
    "stable_diffusion": {"prompt": "a koala on a beach", "seed": 1},
}
_MASK = {"size": [256, 256], "counts": f"PR`0P4P4{'0' * 125}Pno0"}
"""A rectangle in the meadow's picture."""


def of_tool(spec: SkillSpec) -> str:
    """A call of a tool; of one that is not known here with the arguments that it cannot do without."""
    body: dict[str, Any] = {}
    for symbol in sorted(spec.consumes):
        body[str(symbol)] = _MASK if symbol in (Symbol.MASK, Symbol.REFERENCE_MASK) else "$IMAGE"
    arguments = _ARGUMENTS.get(spec.name, _required(spec))
    if arguments:
        body["arguments"] = arguments
    written = json.dumps(body).replace("$IMAGE", "'$IMAGE'")
    return f"curl -s {URL}/v1/tools/{spec.name} {_JSON} -d '\n  {written}'"


def _required(spec: SkillSpec) -> dict[str, Any]:
    schema = spec.args_schema()
    values = {"string": "cat", "integer": 1, "number": 0.5, "boolean": True, "array": []}
    return {name: values.get(schema["properties"][name].get("type")) for name in schema.get("required", ())}
