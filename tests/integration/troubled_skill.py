"""Skills that die, wait, or are started late: what they meet must not trouble anybody else."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from services.core.errors import SkillError
from services.core.skill import Skill, SkillCall
from services.core.types import SkillArgs, SkillResult


class TroubleArgs(SkillArgs):
    """What should happen."""

    do: Literal["answer", "die", "wait"] = "answer"
    seconds: float = Field(default=0.0, ge=0.0, le=60.0, description="How long `wait` takes.")
    name: str = Field(default="", description="Written down when the call runs, where the skill has a `diary`.")


class TroubleResult(SkillResult):
    """Which process answered."""

    pid: int


class Trouble(Skill[TroubleArgs, TroubleResult]):
    """Dies, waits or answers; writes the names of its calls into the file of its option `diary`."""

    name = "trouble"
    consumes = frozenset()
    Args = TroubleArgs
    Result = TroubleResult

    def predict(self, batch: Sequence[SkillCall[TroubleArgs]]) -> Sequence[TroubleResult | SkillError]:
        for call in batch:
            if call.args.do == "die":
                os._exit(1)
            if call.args.name:
                with Path(self.options["diary"]).open("a") as diary:
                    diary.write(f"{call.args.name}\n")
            time.sleep(call.args.seconds)
        return [TroubleResult(pid=os.getpid()) for _ in batch]


class ThreadsResult(SkillResult):
    """How many threads torch uses for an operation."""

    threads: int


class Threads(Skill[SkillArgs, ThreadsResult]):
    """Tells how many threads torch uses."""

    name = "threads"
    consumes = frozenset()
    Args = SkillArgs
    Result = ThreadsResult

    def setup(self) -> None:
        import torch  # noqa: F401 - takes longer than a call may

    def predict(self, batch: Sequence[SkillCall[SkillArgs]]) -> Sequence[ThreadsResult | SkillError]:
        import torch

        return [ThreadsResult(threads=torch.get_num_threads()) for _ in batch]


class Slow(Skill[SkillArgs, TroubleResult]):
    """Takes a fifth of a second for a batch of any size."""

    name = "slow"
    consumes = frozenset()
    Args = SkillArgs
    Result = TroubleResult

    def predict(self, batch: Sequence[SkillCall[SkillArgs]]) -> Sequence[TroubleResult | SkillError]:
        time.sleep(0.2)
        return [TroubleResult(pid=os.getpid()) for _ in batch]


class Sleeper(Skill[SkillArgs, TroubleResult]):
    """Writes down when it is loaded, into the file of its option `diary`."""

    name = "sleeper"
    consumes = frozenset()
    Args = SkillArgs
    Result = TroubleResult

    def setup(self) -> None:
        Path(self.options["diary"]).write_text("awake")

    def predict(self, batch: Sequence[SkillCall[SkillArgs]]) -> Sequence[TroubleResult | SkillError]:
        return [TroubleResult(pid=os.getpid()) for _ in batch]
