"""Scores tool choice on unseen wordings and faithful copying.

    python -m planner.eval.tool_choice [--weights FOLDER] [--engine vllm|transformers] [--dtype float32|bfloat16]
                                       [--requests FILE] [--json FILE]

scores the committed weights on `requests/reading_blind.jsonl`, written by somebody who had not seen the training
wordings; `requests/reading.jsonl` is the set with which weights were chosen. `score` takes any other planner as a
function. vLLM answers all requests at once under the dialect's schema, as in service; transformers one after the other
and without any constraint.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, UserTurn
from planner.data.embedded import CALL
from planner.eval.texts import POSTER_LINES, TEXTS, reproduced
from planner.format import PlannerOutput

Ask = Callable[[Sequence[Conversation]], Sequence[PlannerOutput | None]]
"""A planner: what it says next in each conversation; None where its text is in no known form."""

REQUESTS = Path(__file__).parent / "requests"
BLIND = REQUESTS / "reading_blind.jsonl"
PICTURE = "noise:evaluation"
QUESTIONS = ("What does this say?", "Please read it to me.", "Type out the text.", "What is written here?")


@dataclass
class Scores:
    """Counts; `wrong` holds (request, expected, chosen)."""

    read_right: int = 0
    read_all: int = 0
    answer_right: int = 0
    answer_all: int = 0
    copied_lines: int = 0
    all_lines: int = 0
    whole_texts: int = 0
    all_texts: int = 0
    poster_lines: int = 0
    poster_all: int = len(POSTER_LINES)
    broken: int = 0
    seconds: float = 0.0
    wrong: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def add_choice(self, text: str, expected: str | None, output: PlannerOutput | None) -> None:
        chosen = None if output is None or output.is_answer else output.actions[0].API_name
        right = output is not None and chosen == expected
        if expected is None:
            self.answer_right, self.answer_all = self.answer_right + right, self.answer_all + 1
        else:
            self.read_right, self.read_all = self.read_right + right, self.read_all + 1
        if not right:
            self.wrong.append((text, expected, chosen))

    def table(self) -> str:
        rows = (
            ("read: easyocr chosen", self.read_right, self.read_all),
            ("answer: no tool chosen", self.answer_right, self.answer_all),
            ("tool choice in all", self.read_right + self.answer_right, self.read_all + self.answer_all),
            ("lines copied", self.copied_lines, self.all_lines),
            ("texts copied whole", self.whole_texts, self.all_texts),
            ("poster lines copied", self.poster_lines, self.poster_all),
        )
        shown = [f"{name:<24}{right:>5}/{total:<5}{right / max(total, 1):>7.1%}" for name, right, total in rows]
        return "\n".join([*shown, f"{'not in the format':<24}{self.broken:>5}", f"{'seconds':<24}{self.seconds:>7.1f}"])


def requests(path: Path = BLIND) -> list[dict[str, Any]]:
    """The requests of a file: `text`, and `expected`: a skill's name or None."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def score(ask: Ask, tell: Callable[[str], None] = lambda _: None, path: Path = BLIND) -> Scores:
    """Ask everything. A reply outside the format counts as wrong."""
    scores, begun = Scores(), time.monotonic()
    asked = requests(path)
    texts = [*(tuple(text.split("\n")) for text in TEXTS), POSTER_LINES]
    questions = [*(QUESTIONS[number % len(QUESTIONS)] for number in range(len(TEXTS))), "What does this poster say?"]
    first: list[Conversation] = [(UserTurn(text=request["text"], images=(PICTURE,)),) for request in asked]
    outputs = ask([*first, *(reading(question, lines) for question, lines in zip(questions, texts, strict=True))])
    scores.seconds = round(time.monotonic() - begun, 1)
    scores.broken = sum(output is None for output in outputs)
    for request, output in zip(asked, outputs, strict=False):
        scores.add_choice(request["text"], request["expected"], output)
        if output is not None and output.is_answer:
            tell(f"{request['text']} -> {output.value}")
    *copies, poster = [output.value if output else "" for output in outputs[len(asked) :]]
    for lines, copy in zip(texts, copies, strict=False):
        copied = reproduced(copy, lines)
        scores.copied_lines += copied
        scores.all_lines += len(lines)
        scores.whole_texts += copied == len(lines)
        scores.all_texts += 1
    scores.poster_lines = reproduced(poster, POSTER_LINES)
    return scores


def reading(question: str, lines: Sequence[str]) -> Conversation:
    """A conversation whose picture has just been read."""
    found = Observation(skill="easyocr", content={"text": "\n".join(lines)})
    return (
        UserTurn(text=question, images=(PICTURE,)),
        AssistantTurn(output=CALL),
        ObservationTurn(observations=(found,), question=question),
    )


def main() -> None:
    from planner.eval.local import TransformersPlanner, VllmPlanner
    from planner.model import WEIGHTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--engine", default="vllm", choices=("vllm", "transformers"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--requests", type=Path, default=BLIND)
    parser.add_argument("--json", type=Path, help="write the scores here")
    options = parser.parse_args()
    kind = VllmPlanner if options.engine == "vllm" else TransformersPlanner
    scores = score(kind(options.weights, options.dtype).ask, tell=print, path=options.requests)
    for text, expected, chosen in scores.wrong:
        print(f"WRONG {text!r}: {chosen} instead of {expected}")
    print(scores.table())
    if options.json:
        options.json.write_text(json.dumps(asdict(scores), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
