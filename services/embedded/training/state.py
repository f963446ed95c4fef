"""What a cut run needs to go on: weights, averaged weights, optimizer, step, time spent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from services.embedded.training.errors import RunError


@dataclass(slots=True)
class RunState:
    """Everything that changes while a run goes on.

    Attributes:
        step: optimizer steps done.
        seconds: time spent training, over all resumed parts.
    """

    model: Any
    optimizer: Any
    ema: Any | None
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write all of it; a cut while writing leaves the file of before."""
        import torch

        partial = path.with_suffix(".partial")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema.state_dict() if self.ema is not None else None,
                "step": self.step,
                "seconds": self.seconds,
            },
            partial,
        )
        os.replace(partial, path)

    def load(self, path: Path) -> bool:
        """Go on from `path`; False where there is nothing to go on from.

        Raises:
            RunError: the file is damaged, or is the state of another network.
        """
        import torch

        if not path.is_file():
            return False
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            model, optimizer, ema = stored["model"], stored["optimizer"], stored["ema"]
            self.step, self.seconds = int(stored["step"]), float(stored["seconds"])
        except (RuntimeError, UnpicklingError, EOFError, LookupError, TypeError, ValueError):
            raise RunError(f"{path} cannot be read: remove {path.parent} to start the run again.") from None
        try:
            self.model.load_state_dict(model)
            self.optimizer.load_state_dict(optimizer)
            if self.ema is not None:
                self.ema.load_state_dict(ema or model)
        except (RuntimeError, ValueError):
            raise RunError(
                f"The run in {path.parent} has another network than this one: give the settings that it was started "
                "with, another folder with --runs, or remove it to start again."
            ) from None
        return True
