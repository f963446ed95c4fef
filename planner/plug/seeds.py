"""Seed questions for a new skill: a text file with one a line.

    Which bird is this?
    How many {thing} do you see?<TAB>{"caption": "{thing}"}<TAB>There are {result.count}.

After the question may come the call's arguments as JSON, and the answer. `{thing}` stands for one of many nouns, the
same everywhere in a line (the paper's way for skills with arguments: placeholders are filled). `{result.FIELD}` is
taken from what the skill gave; a line without an answer teaches the call alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.core.spec import SkillSpec

THING = "{thing}"
_RESULT = re.compile(r"\{result\.(?P<field>\w+)\}")


class SeedError(ValueError):
    """The seed questions cannot be used; the message names the line."""


@dataclass(frozen=True)
class Seed:
    """One line: `arguments` and `answer` may hold placeholders."""

    question: str
    arguments: str = "{}"
    answer: str = ""

    def filled(self, thing: str) -> tuple[str, dict[str, Any]]:
        """The question and the arguments about `thing`."""
        arguments: dict[str, Any] = json.loads(self.arguments.replace(THING, json.dumps(thing)[1:-1]))
        return self.question.replace(THING, thing), arguments

    def answered(self, thing: str, result: dict[str, Any]) -> str:
        """The answer about `thing` with the result's fields in it.

        Raises:
            KeyError: the result has no such field.
        """
        return _RESULT.sub(lambda found: _in_words(result[found["field"]]), self.answer.replace(THING, thing))


def read_seeds(path: Path, spec: SkillSpec) -> list[Seed]:
    """The file's questions, checked against the skill.

    Raises:
        SeedError: there are too few to hold some back, or a line does not fit the skill.
    """
    seeds: list[Seed] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            seeds.append(_seed(line, f"{path.name}, line {number}", spec))
    if len(seeds) < 4:
        raise SeedError(f"{path.name} has {len(seeds)} questions: write four at least, better fifty.")
    return seeds


def _seed(line: str, where: str, spec: SkillSpec) -> Seed:
    columns = [column.strip() for column in line.split("\t")]
    if len(columns) > 3 or not columns[0]:
        raise SeedError(f"{where}: a line is a question, its arguments and its answer, with tabs between.")
    seed = Seed(columns[0], columns[1] if len(columns) > 1 and columns[1] else "{}", *columns[2:])
    try:
        spec.args_model.model_validate(seed.filled("cat")[1])
    except ValidationError as error:
        first = error.errors()[0]
        raise SeedError(f"{where}: {spec.name} needs {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    except ValueError:
        raise SeedError(f"{where}: the arguments are not a JSON object.") from None
    unknown = [found["field"] for found in _RESULT.finditer(seed.answer)]
    unknown = [name for name in unknown if name not in spec.result_model.model_fields]
    if unknown:
        raise SeedError(f"{where}: {spec.name} gives no {unknown[0]}.")
    return seed


def _in_words(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
