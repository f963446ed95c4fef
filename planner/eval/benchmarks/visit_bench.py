"""VisIT-Bench (arXiv 2308.06595): models meet head to head on instructions; a judge picks, an Elo rating follows.

File: a CSV with `instruction_category`, `image` or `image_url`, `instruction`, a dense caption, a reference output, and
for every other model a column "NAME prediction". Each pair is judged in both orders; who is preferred more often wins
the battle, else it is a tie. The win rate is against the reference output.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.answers import Question
from planner.eval.benchmarks.endpoint import Endpoint
from planner.eval.benchmarks.files import column, found, picture, read_csv
from planner.eval.figures import Share

REFERENCE = "human-verified reference"
ELO_START, ELO_SCALE = 1000.0, 400.0
_PREDICTION = " prediction"
_CAPTIONS = ("instruction_conditioned_caption", "image_dense_caption", "images_dense_captions", "caption")
_REFERENCES = ("reference_output", "output_human_annotated", "gpt4_prediction")
_VERDICT = re.compile(r"(?:overall response|preferred|winner|verdict|better)\W*(?:is\W*)?(a|b|tie)\b", re.IGNORECASE)
_LONE = re.compile(r"^\W*(a|b|tie)\W*$", re.IGNORECASE)
_ASK = """A picture is described as follows:
{caption}

Instruction about the picture: {instruction}

Response A: {a}

Response B: {b}

Which response follows the instruction better, given the picture: is it correct, helpful and clear? Think step by \
step, then end with one line: "Winner: A", "Winner: B" or "Winner: tie"."""


@dataclass(frozen=True)
class Battle:
    """`result` is 1 when `one` won, 0 when `other` did, 0.5 for a tie."""

    one: str
    other: str
    result: float


@dataclass(frozen=True)
class VisitBench:
    rows: list[dict[str, str]]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> VisitBench:
        """Raises `EvaluationError` for what is missing."""
        return cls(read_csv(found(folder, "visit_bench_single_image.csv", "visit_bench.csv")), folder)

    def questions(self) -> list[Question]:
        return [
            Question(str(number), row["instruction"], picture(self.folder, column(row, ("image", "image_url"))))
            for number, row in enumerate(self.rows)
        ]

    def others(self) -> list[str]:
        """The models whose predictions the file has."""
        return [name.removesuffix(_PREDICTION) for name in self.rows[0] if name.endswith(_PREDICTION)]

    async def score(self, answers: dict[str, str], name: str, judge: Endpoint, *, k: float = 4.0) -> dict[str, Any]:
        """Elo ratings of all models, the candidate's battles, and win rates against the reference."""
        battles: list[Battle] = []
        against: dict[str, list[bool]] = {}
        for number, row in enumerate(self.rows):
            said = {name: answers[str(number)]} | {other: row[other + _PREDICTION] for other in self.others()}
            for one, other in combinations(said, 2):
                battles.append(Battle(one, other, await self._judged(row, said[one], said[other], judge)))
            reference = column(row, _REFERENCES)
            for model, text in said.items():
                if reference:
                    against.setdefault(model, []).append(await self._judged(row, text, reference, judge) == 1)
        matches = {model: sum(model in (one.one, one.other) for one in battles) for model in (name, *self.others())}
        return {
            "elo": elo(battles, k=k),
            "matches": matches,
            "win": {model: Share.of(won).to_json() for model, won in against.items()},
        }

    async def _judged(self, row: dict[str, str], one: str, other: str, judge: Endpoint) -> float:
        """Judged in both orders, against the judge's liking for a position."""
        first = await _pick(row, one, other, judge)
        second = await _pick(row, other, one, judge)
        wins = (first == "a") + (second == "b") - (first == "b") - (second == "a")
        return 1.0 if wins > 0 else 0.0 if wins < 0 else 0.5


async def _pick(row: dict[str, str], a: str, b: str, judge: Endpoint) -> str:
    asked = _ASK.format(caption=column(row, _CAPTIONS), instruction=row["instruction"], a=a, b=b)
    said = (await judge.text([{"role": "user", "content": asked}])).strip()
    lone = _LONE.match(said.splitlines()[-1]) if said else None
    found_ = [lone[1]] if lone else _VERDICT.findall(said)
    return str(found_[-1]).lower() if found_ else "tie"


def elo(battles: Sequence[Battle], *, k: float = 4.0, orders: int = 200, seed: int = 0) -> dict[str, float]:
    """Mean ratings over random orders of the battles, since a rating depends on the order.

    Args:
        k: how far one battle moves a rating.
    """
    models = sorted({name for battle in battles for name in (battle.one, battle.other)})
    sums = dict.fromkeys(models, 0.0)
    rng = random.Random(seed)
    for _ in range(orders):
        ratings = dict.fromkeys(models, ELO_START)
        for battle in rng.sample(list(battles), len(battles)):
            expected = 1 / (1 + 10 ** ((ratings[battle.other] - ratings[battle.one]) / ELO_SCALE))
            change = k * (battle.result - expected)
            ratings[battle.one] += change
            ratings[battle.other] -= change
        for name, rating in ratings.items():
            sums[name] += rating
    return {name: total / orders for name, total in sums.items()}
