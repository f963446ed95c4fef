"""TaskBench (arXiv 2311.18760): a request becomes steps, tool calls and the links between them.

Files of one of its three sets: `data.json` (JSON lines: `id`, `user_request`, `type`, `task_steps`, `task_nodes`,
`task_links`) and `tool_desc.json`. Where calls pass files on (`resource`), an argument "<node-0>" is the result of the
first call and makes a link; where they are only ordered in time (`temporal`), links are predicted as such.

Scores: ROUGE-1 and -2 of the steps, F1 of calls (n-F1) and links (e-F1), F1 of argument names or types (t-F1) and of
values (v-F1). All F1 are over sets of a sample, counted together over all samples, as the benchmark does.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from planner.eval.benchmarks.answers import Question
from planner.eval.benchmarks.files import found, read_json, read_lines

Kind = Literal["resource", "temporal"]
_NODE = re.compile(r"<node-(\d+)>")
_FILES = {
    "image": ("jpg", "png", "jpeg", "gif", "bmp", "tiff", "svg", "ico"),
    "audio": ("mp3", "wav", "wma", "ogg", "aac", "flac", "aiff", "au"),
    "video": ("mp4", "avi", "mov", "flv", "wmv", "mkv", "webm", "m4v", "mpg", "mpeg"),
}
_ASK = """Tools:
{tools}

Plan how to meet the request with these tools. Answer with one JSON object and nothing else:
{{"task_steps": ["one sentence for each step"],
"task_nodes": [{{"task": "tool id", "arguments": [{argument}]}}],
"task_links": [{{"source": "tool id", "target": "{target}"}}]}}

Request: {request}"""
_ARGUMENT = {
    "resource": '"a text, a file name, or <node-j> for the result of the j-th node, counted from 0"',
    "temporal": '{"name": "parameter", "value": "its value"}',
}
_TARGET = {"resource": "tool id that takes its result", "temporal": "tool id that comes right after it"}


@dataclass(frozen=True)
class Graph:
    """What is compared: names of calls, links, argument names and values."""

    steps: str
    nodes: frozenset[str]
    links: frozenset[tuple[str, str]]
    names: frozenset[str]
    values: frozenset[str]


@dataclass(frozen=True)
class TaskBench:
    samples: list[dict[str, Any]]
    tools: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> TaskBench:
        """Raises `EvaluationError` for what is missing."""
        return cls(read_lines(found(folder, "data.json")), read_json(found(folder, "tool_desc.json"))["nodes"])

    @property
    def kind(self) -> Kind:
        return "resource" if all("input-type" in tool for tool in self.tools) else "temporal"

    def questions(self) -> list[Question]:
        tools = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in self.tools)
        form = {"tools": tools, "argument": _ARGUMENT[self.kind], "target": _TARGET[self.kind]}
        return [
            Question(str(sample["id"]), _ASK.format(request=sample["user_request"], **form)) for sample in self.samples
        ]

    def score(self, answers: Mapping[str, str]) -> dict[str, Any]:
        """Scores in per cent; an answer that is no such object counts as an empty plan."""
        outputs = {str(tool["id"]): str((tool.get("output-type") or ["other"])[0]) for tool in self.tools}
        pairs, unread = [], 0
        for sample in self.samples:
            plan = planned(answers[str(sample["id"])])
            unread += plan is None
            pairs.append((graph(sample, self.kind, outputs), graph(plan or {}, self.kind, outputs)))
        rouge = [sum(rouge_n(true.steps, ours.steps, n) for true, ours in pairs) / len(pairs) for n in (1, 2)]
        return {
            "R1": 100 * rouge[0],
            "R2": 100 * rouge[1],
            "n-F1": set_f1([(true.nodes, ours.nodes) for true, ours in pairs]),
            "e-F1": set_f1([(true.links, ours.links) for true, ours in pairs]),
            "t-F1": set_f1([(true.names, ours.names) for true, ours in pairs]),
            "v-F1": set_f1([(true.values, ours.values) for true, ours in pairs]),
            "unread": unread,
            "samples": len(pairs),
        }


def planned(answer: str) -> dict[str, Any] | None:
    """The plan in an answer, also where words or a code fence stand around it."""
    start, end = answer.find("{"), answer.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        plan = json.loads(answer[start : end + 1])
    except ValueError:
        return None
    return plan if isinstance(plan, dict) and isinstance(plan.get("task_nodes"), list) else None


def graph(plan: Mapping[str, Any], kind: Kind, outputs: Mapping[str, str]) -> Graph:
    """A plan as sets.

    Args:
        outputs: what each tool gives: image, audio, video or text.
    """
    nodes = [node for node in _listed(plan, "task_nodes") if isinstance(node, dict) and "task" in node]
    tasks = [str(node["task"]) for node in nodes]
    links, names, values = set[tuple[str, str]](), set[str](), set[str]()
    for task, node in zip(tasks, nodes, strict=True):
        for name, value, source in _arguments(node, kind, tasks, outputs):
            names.add(f"{task}-{name}")
            values.add(f"{task}-{name}-{value}")
            if source is not None:
                links.add((source, task))
    if kind == "temporal":
        stated = [link for link in _listed(plan, "task_links") if isinstance(link, dict)]
        links = {(str(link.get("source")), str(link.get("target"))) for link in stated}
    steps = "\n".join(str(step) for step in _listed(plan, "task_steps"))
    return Graph(steps, frozenset(tasks), frozenset(links), frozenset(names), frozenset(values))


def _arguments(
    node: Mapping[str, Any], kind: Kind, tasks: Sequence[str], outputs: Mapping[str, str]
) -> list[tuple[str, str, str | None]]:
    """Name (or type), value, and the tool that it comes from, for every argument of a call."""
    arguments: list[tuple[str, str, str | None]] = []
    for argument in _listed(node, "arguments"):
        if kind == "temporal":
            if isinstance(argument, dict):
                arguments.append((str(argument.get("name")), str(argument.get("value")), None))
            continue
        text = str(next(iter(argument.values()), "")) if isinstance(argument, dict) else str(argument)
        named = _NODE.search(text)
        source = tasks[int(named[1])] if named and int(named[1]) < len(tasks) else None
        if source is not None:
            arguments.append((outputs.get(source, "other"), source, source))
        else:
            arguments.append((_type_of(text), text, None))
    return arguments


def _listed(plan: Mapping[str, Any], key: str) -> list[Any]:
    value = plan.get(key)
    return value if isinstance(value, list) else []


def _type_of(text: str) -> str:
    return next((kind for kind, ends in _FILES.items() if any(f".{end}" in text for end in ends)), "text")


def set_f1(pairs: Sequence[tuple[frozenset[Any], frozenset[Any]]]) -> float:
    """F1 in per cent of (true, predicted) sets, counted together."""
    both = sum(len(true & ours) for true, ours in pairs)
    total = sum(len(true) + len(ours) for true, ours in pairs)
    return 100 * 2 * both / total if total else 100.0


def rouge_n(true: str, ours: str, n: int) -> float:
    """ROUGE-N's F1 of two texts (Lin, 2004), without stemming."""
    first, second = (_grams(text, n) for text in (true, ours))
    both = sum((first & second).values())
    total = first.total() + second.total()
    return 2 * both / total if both else 0.0


def _grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
