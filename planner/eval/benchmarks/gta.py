"""GTA (arXiv 2407.08713): real pictures, real tools, several steps.

File: `dataset.json` (number to `tools`, `files`, `dialogs`, `gt_answer`). *Step by step*, a model is given the true
dialogue up to each of the assistant's turns and says the next one: InstAcc (a call where a call is right, an answer
where an answer is), ToolAcc, ArgAcc, SummAcc. *End to end*, a platform answers: AnsAcc, and the F1 of the tools used by
kind (perception, operation, logic, creativity); the platform's skills stand for GTA's tools of the same use.

Answers that the benchmark compares by sentence embeddings are compared by the F1 of their words, and reported apart.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.endpoint import Endpoint, image_part
from planner.eval.benchmarks.files import found, picture, read_json
from planner.eval.gateway import GatewayClient
from planner.eval.journal import Journal

KINDS: Mapping[str, frozenset[str]] = {
    "P": frozenset({"OCR", "ImageDescription", "RegionAttributeDescription", "TextToBbox"}),
    "O": frozenset({"DrawBox", "AddText", "GoogleSearch"}),
    "L": frozenset({"Calculator", "Solver", "Plot", "MathOCR", "CountGivenObject"}),
    "C": frozenset({"TextToImage", "ImageStylization"}),
}
SAME_USE: Mapping[str, str] = {
    "easyocr": "OCR",
    "blip2": "ImageDescription",
    "ram": "ImageDescription",
    "grounding_dino": "TextToBbox",
    "grounding_dino+sam": "TextToBbox",
    "stable_diffusion": "TextToImage",
    "instruct_pix2pix": "ImageStylization",
}
"""GTA's tool that a skill of ours stands for."""


@dataclass(frozen=True)
class Gta:
    samples: dict[str, dict[str, Any]]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> Gta:
        """Raises `EvaluationError` for what is missing."""
        return cls(read_json(found(folder, "dataset.json")), folder)

    async def step_by_step(self, model: Endpoint) -> dict[str, Any]:
        """Accuracies in per cent of the next turn, given the true ones before it."""
        counts: Counter[str] = Counter()
        worded: list[float] = []
        for sample in self.samples.values():
            answer = sample.get("gt_answer")
            counts["answers"] += isinstance(answer, dict)
            for place, turn in enumerate(sample["dialogs"]):
                if turn["role"] != "assistant" or not ("tool_calls" in turn or answer):
                    continue
                said = await model.message(self._messages(sample, place), more={"tools": _functions(sample["tools"])})
                _count(turn, said, answer, counts, worded)
        steps = counts["calls"] + counts["answers_due"]
        return {
            "InstAcc": _percent(counts["inst"], steps),
            "ToolAcc": _percent(counts["tool"], counts["calls"]),
            "ArgAcc": _percent(counts["arg"], counts["calls"]),
            "SummAcc": _percent(counts["summ"], counts["answers"]),
            "subjective, F1 of words": 100 * sum(worded) / len(worded) if worded else None,
            "steps": steps,
        }

    async def end_to_end(self, client: GatewayClient, journal: Journal, mode: str | None = None) -> dict[str, Any]:
        """AnsAcc in per cent, and F1 by kind of the tools that were used."""
        for name, sample in self.samples.items():
            if name not in journal:
                asked = next(turn["content"] for turn in sample["dialogs"] if turn["role"] == "user")
                parts = [image_part(picture(self.folder, file["path"])) for file in sample["files"]]
                reply = await client.chat(asked, parts, mode=mode)
                used = [SAME_USE.get(action["API_name"], action["API_name"]) for action in reply.actions]
                journal.keep(name, {"answer": reply.answer, "used": used})
        return self._scored({name: journal.results[name] for name in self.samples})

    def _scored(self, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        due = hit = 0
        used, wanted, both = Counter[str](), Counter[str](), Counter[str]()
        for name, sample in self.samples.items():
            answer, result = sample.get("gt_answer"), results[name]
            if isinstance(answer, dict):
                due += 1
                hit += holds(str(result["answer"]), answer)
            true = [_call(turn)[0] for turn in sample["dialogs"] if "tool_calls" in turn]
            used.update(filter(None, map(_kind, result["used"])))
            wanted.update(filter(None, map(_kind, true)))
            both.update(filter(None, (_kind(tool) for tool in true if tool in result["used"])))
        f1 = {f"{kind}. F1": _f1(both[kind], used[kind], wanted[kind]) for kind in KINDS}
        return {"AnsAcc": _percent(hit, due)} | f1

    def _messages(self, sample: Mapping[str, Any], place: int) -> list[dict[str, Any]]:
        """The true dialogue before a turn, as OpenAI's messages; the pictures come with the first question."""
        shown = [image_part(picture(self.folder, file["path"])) for file in sample["files"]]
        names = ", ".join(str(file["path"]) for file in sample["files"])
        messages: list[dict[str, Any]] = []
        for number, turn in enumerate(sample["dialogs"][:place]):
            if turn["role"] == "user":
                text = {"type": "text", "text": f"{turn['content']}\nFiles: {names}" if shown else turn["content"]}
                messages.append({"role": "user", "content": [*shown, text]})
                shown = []
            elif "tool_calls" in turn:
                name, arguments = _call(turn)
                function = {"name": name, "arguments": json.dumps(arguments)}
                call = {"id": f"call_{number}", "type": "function", "function": function}
                messages.append({"role": "assistant", "content": turn.get("thought"), "tool_calls": [call]})
            elif turn["role"] == "tool":
                content = turn["content"]
                told = str(content["content"]) if isinstance(content, dict) else str(content)
                messages.append({"role": "tool", "tool_call_id": f"call_{number - 1}", "content": told})
            else:
                messages.append({"role": "assistant", "content": turn["content"]})
        return messages


def _count(
    true: Mapping[str, Any], said: Mapping[str, Any], answer: Any, counts: Counter[str], worded: list[float]
) -> None:
    calls = said.get("tool_calls") or []
    if "tool_calls" in true:
        counts["calls"] += 1
        counts["inst"] += bool(calls)
        name, arguments = _call(true)
        if calls and calls[0]["function"]["name"] == name:
            counts["tool"] += 1
            counts["arg"] += _loaded(calls[0]["function"]["arguments"]) == arguments
        return
    if not answer:
        return
    counts["answers_due"] += 1
    counts["inst"] += not calls
    if calls:
        return
    text = str(said.get("content") or "")
    if isinstance(answer, dict):
        counts["summ"] += holds(text, answer)
    elif isinstance(answer, list):
        worded.append(max((word_f1(text, str(one)) for one in answer), default=0.0))


def holds(answer: str, wanted: Mapping[str, Any]) -> bool:
    """Whether an answer has one of each group of words of the whitelist, and none of the blacklist."""
    groups: Sequence[Sequence[str]] = wanted["whitelist"]
    barred = [word for group in wanted.get("blacklist") or () for word in group]
    return all(_has(answer, group) for group in groups) and not (barred and _has(answer, barred))


def word_f1(one: str, other: str) -> float:
    """F1 of the words that two texts share."""
    first, second = (Counter(re.findall(r"\w+", text.casefold())) for text in (one, other))
    both = sum((first & second).values())
    return 2 * both / (first.total() + second.total()) if both else 0.0


def _has(answer: str, words: Sequence[str]) -> bool:
    pattern = r"\b(?:" + "|".join(re.escape(str(word)) for word in words) + r")\b"
    return re.search(pattern, answer, re.IGNORECASE) is not None


def _call(turn: Mapping[str, Any]) -> tuple[str, Any]:
    function = turn["tool_calls"][0]["function"]
    return str(function["name"]), _loaded(function["arguments"])


def _loaded(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _functions(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """GTA's tool descriptions as OpenAI's functions."""
    functions = []
    for tool in tools:
        properties: dict[str, Any] = defaultdict(dict)
        required = []
        for given in tool.get("inputs", ()):
            kind = {"int": "integer", "float": "number", "bool": "boolean"}.get(str(given.get("type")), "string")
            properties[given["name"]] = {"type": kind, "description": str(given.get("description") or "")}
            required += [] if given.get("optional") else [given["name"]]
        parameters = {"type": "object", "properties": dict(properties), "required": required}
        function = {"name": tool["name"], "description": str(tool.get("description") or ""), "parameters": parameters}
        functions.append({"type": "function", "function": function})
    return functions


def _kind(tool: str) -> str | None:
    return next((kind for kind, tools in KINDS.items() if tool in tools), None)


def _percent(right: int, total: int) -> float | None:
    return 100 * right / total if total else None


def _f1(both: int, used: int, wanted: int) -> float | None:
    return 100 * 2 * both / (used + wanted) if wanted else None
