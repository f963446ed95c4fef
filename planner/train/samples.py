"""Training samples from files and generators, as the conversations that a setting asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.conversation import (
    AssistantTurn,
    Conversation,
    Observation,
    ObservationTurn,
    Turn,
    UserTurn,
    without_mistakes,
)
from planner.data.embedded import generate
from planner.data.released import Sample, to_conversation
from planner.eval.command import EvaluationError
from planner.prompt import observation_line
from planner.train import science_qa
from planner.train.config import ConfigError, Source, TrainConfig


@dataclass(frozen=True)
class Loaded:
    """A sample with the folder of its pictures."""

    sample: Sample
    images: Path | None

    @property
    def tools(self) -> list[str] | None:
        """The tools that its prompt lists, where it says so."""
        named = self.sample.get("tools")
        return None if named is None else [str(name) for name in named]

    @property
    def without(self) -> list[str]:
        """Tools that its prompt says are not available."""
        return [str(name) for name in self.sample.get("without", ())]

    @property
    def whole(self) -> bool:
        """Whether it is learned from its first to its last turn, whatever the `cut_share`."""
        return bool(self.sample.get("whole"))

    @property
    def mistaken(self) -> int:
        """How many of the planner's first turns are mistakes, which stay in the text and are not learned."""
        return int(self.sample.get("mistaken", 0))


def load(sources: Sequence[Source], seed: int) -> list[Loaded]:
    """All samples of an epoch.

    Raises:
        ConfigError: a file cannot be read, or holds something else.
    """
    return [Loaded(sample, source.images) for source in sources for sample in _samples(source, seed) * source.repeat]


def conversation(sample: Sample) -> Conversation:
    """A sample's conversation; answers of LLaVA's own data, which are text alone, get no thoughts and no actions.

    Raises:
        ConfigError: it is not in the released form; the message names the sample.
    """
    try:
        turns = [_completed(turn) for turn in sample["conversations"]]
        return to_conversation(dict(sample) | {"conversations": turns})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ConfigError(f"Sample {sample.get('id')!r} is not in the released form: {reason}") from None


def caption(sample: Sample) -> tuple[str, str]:
    """The picture's name and its text, of a sample of stage 1.

    Raises:
        ConfigError: it is no picture with a text.
    """
    turns = conversation(sample)
    first, last = (turns[0], turns[-1]) if turns else (None, None)
    if not (isinstance(first, UserTurn) and first.images and isinstance(last, AssistantTurn)):
        raise ConfigError(
            f"Sample {sample.get('id')!r} is no picture with a text: `form: caption` cannot learn from it."
        )
    return first.images[0], last.output.value


def adapted(
    turns: Conversation, config: TrainConfig, known: Mapping[str, Sequence[Observation]], mistaken: int = 0
) -> tuple[Conversation, int]:
    """The conversation as the configuration's setting and ablations have it, and how many of its first plans are
    mistakes.

    Args:
        known: what the understanding skills gave for a picture, by its name.
        mistaken: how many there are before.
    """
    if config.setting == "all_tools":
        turns, mistaken = all_tools(without_mistakes(turns, mistaken), known), 0
    return (turns if config.thoughts else tuple(_without_thoughts(turn) for turn in turns)), mistaken


def all_tools(turns: Conversation, known: Mapping[str, Sequence[Observation]]) -> Conversation:
    """LLaVA-Plus' second setting: results stand before the question, in serving's words, and no tool is called.

    A question with a picture whose results are known gets those; any other gets what its own calls gave.
    """
    made: list[Turn] = []
    for start, exchange in _exchanges(turns):
        own = [seen for turn in exchange if isinstance(turn, ObservationTurn) for seen in turn.observations]
        given = [seen for name in start.images for seen in known.get(name, ())] or own
        lines = [observation_line(seen) for seen in given]
        made.append(start.model_copy(update={"text": "\n".join([*lines, "", start.text])}) if lines else start)
        answers = [turn for turn in exchange if isinstance(turn, AssistantTurn) and turn.output.is_answer]
        made += answers[-1:]
    return _ending_in_an_answer(made)


def read_observations(path: Path | None) -> dict[str, list[Observation]]:
    """Results of the understanding skills by picture: lines of {"image", "observations": [{"skill", "content"}]}.

    Raises:
        ConfigError: the file cannot be read, or a line is something else.
    """
    if path is None:
        return {}
    return {row["image"]: [Observation.model_validate(seen) for seen in row["observations"]] for row in json_rows(path)}


def _samples(source: Source, seed: int) -> list[Sample]:
    if source.science_qa is not None:
        try:
            return science_qa.samples(source.science_qa, source.split)[: source.samples]
        except EvaluationError as error:
            raise ConfigError(f"science_qa: {error}") from None
    if source.path is None:
        return list(generate(source.samples or 0, seed))
    rows = json_rows(source.path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("conversations"), list):
            raise ConfigError(f"{source.path}: sample {number} has no `conversations`: it is not in the released form.")
    return rows[: source.samples]


def json_rows(path: Path) -> list[Any]:
    """What a file of JSON lines, or with one JSON list, holds.

    Raises:
        ConfigError: it cannot be read, or holds neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if text.lstrip()[:1] == "[":
            rows: list[Any] = json.loads(text)
            return rows
        # Not `splitlines`: a line of JSON may have characters in it, such as U+2028, that end a line of text.
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ConfigError(f"{path} holds neither a JSON list nor JSON lines.") from None


def _completed(turn: dict[str, Any]) -> dict[str, Any]:
    return {"thoughts": "", "actions": []} | turn if turn.get("from") == "gpt" else turn


def _without_thoughts(turn: Turn) -> Turn:
    if not isinstance(turn, AssistantTurn):
        return turn
    return AssistantTurn(output=turn.output.model_copy(update={"thoughts": ""}))


def _exchanges(turns: Conversation) -> Iterator[tuple[UserTurn, list[Turn]]]:
    """Each question with everything that followed it."""
    starts = [index for index, turn in enumerate(turns) if isinstance(turn, UserTurn)]
    for start, end in zip(starts, [*starts[1:], len(turns)], strict=True):
        first = turns[start]
        assert isinstance(first, UserTurn)
        yield first, list(turns[start + 1 : end])


def _ending_in_an_answer(turns: list[Turn]) -> Conversation:
    """Without questions at the end that nothing answers (the samples that stop after a call)."""
    while turns and isinstance(turns[-1], UserTurn):
        turns = turns[:-1]
    return tuple(turns)
