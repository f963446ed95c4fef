"""Samples that teach a new skill, mixed with others that keep what the planner knows."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, Turn, UserTurn
from planner.data.released import Sample, to_sample
from planner.data.wordings import lines, vary
from planner.format import Action, PlannerOutput
from planner.plug.seeds import Seed
from planner.train.samples import conversation
from services.core.spec import SkillSpec, Symbol

Results = Callable[[dict[str, Any], Path | None], dict[str, Any] | None]
"""What the skill gives for arguments and a picture, as planners are shown it; None where it gives nothing."""

CHOSEN = "I should use {skill}."
ANSWERED = "The result is there."
WAIT = "One moment."


@dataclass(frozen=True)
class Split:
    """Seeds to learn from, and those that are kept for the score."""

    learned: tuple[Seed, ...]
    held_out: tuple[Seed, ...]


def split(seeds: Sequence[Seed], seed: int) -> Split:
    """A fifth of the seeds, at least one, is held out: the score is on wordings that were not learned."""
    order = random.Random(f"{seed} split").sample(seeds, len(seeds))
    kept = max(1, len(order) // 5)
    return Split(tuple(order[kept:]), tuple(order[:kept]))


class SkillData:
    """Draws conversations that call the skill.

    Args:
        pictures: of people's questions; made-up ones where there are none.
        results: runs the skill; None teaches calls alone.
        tools: the skills that the prompt lists, the new one among them.
    """

    def __init__(
        self,
        spec: SkillSpec,
        tools: Sequence[str],
        rng: random.Random,
        pictures: Sequence[Path] = (),
        results: Results | None = None,
    ) -> None:
        self._spec = spec
        self._tools = list(tools)
        self._rng = rng
        self._pictures = list(pictures)
        self._results = results
        self._things = lines("things.txt")
        self._made_up = 0

    def sample(self, name: str, seed: Seed) -> Sample:
        """One sample in the released form, with the tools that its prompt lists."""
        return to_sample(name, self.conversation(seed)) | {"tools": self._tools}

    def conversation(self, seed: Seed, *, plain: bool = False) -> Conversation:
        """A question and the call, and the answer where the skill was run.

        Args:
            plain: the question as it is written, with no person's variation.
        """
        thing = self._rng.choice(self._things)
        thing = thing.removeprefix("the ").removeprefix("a ")
        question, arguments = seed.filled(thing)
        text = question if plain else vary(question, self._rng)
        path, images = self._picture()
        action = Action(API_name=self._spec.name, API_params=arguments)
        call = PlannerOutput(thoughts=CHOSEN.format(skill=self._spec.name), actions=(action,), value=WAIT)
        turns: list[Turn] = [UserTurn(text=text, images=images), AssistantTurn(output=call)]
        result = self._results(arguments, path) if self._results is not None and seed.answer else None
        if result is None:
            return tuple(turns)
        seen = Observation(skill=self._spec.name, content=result)
        answer = PlannerOutput(thoughts=ANSWERED, value=seed.answered(thing, result))
        return (
            *turns,
            ObservationTurn(observations=(seen,), question=text),
            AssistantTurn(output=answer),
        )

    def _picture(self) -> tuple[Path | None, tuple[str, ...]]:
        if Symbol.IMAGE not in self._spec.consumes:
            return None, ()
        if self._pictures:
            path = self._rng.choice(self._pictures)
            return path, (path.name,)
        self._made_up += 1
        return None, (f"noise:{self._made_up}",)


def others(
    samples: Sequence[Sample], tools: Sequence[str], count: int, rng: random.Random, known: Collection[str] = ()
) -> list[Sample]:
    """`count` samples of what the planner knows, whose prompts list the new skill too.

    So it learns when the new skill is not meant, and forgets nothing.

    Args:
        known: skills that there are; a prompt also lists those of them that its sample calls.
    """
    drawn = rng.sample(samples, min(count, len(samples)))
    return [
        sample | {"tools": sorted({*sample.get("tools", ()), *tools, *(set(_called(sample)) & set(known))})}
        for sample in drawn
    ]


def _called(sample: Sample) -> Iterator[str]:
    for turn in conversation(sample):
        if isinstance(turn, AssistantTurn):
            yield from (action.API_name for action in turn.output.actions)
