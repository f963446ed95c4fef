"""What a cut run needs to go on: weights, averaged weights, optimizer, step, time spent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        """Go on from `path`; False where there is nothing to go on from."""
        import torch

        if not path.is_file():
            return False
        stored = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(stored["model"])
        self.optimizer.load_state_dict(stored["optimizer"])
        if self.ema is not None and stored["ema"] is not None:
            self.ema.load_state_dict(stored["ema"])
        self.step, self.seconds = stored["step"], stored["seconds"]
        return True
