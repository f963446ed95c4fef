"""The figures of a run over its steps, kept as JSON and drawn as PNG."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from services.embedded.training.errors import RunError


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run stood: losses averaged since the point before, and figures on the dev scenes."""

    step: int
    samples: int
    minutes: float
    losses: dict[str, float]
    figures: dict[str, float]


@dataclass(slots=True)
class Curve:
    """All points of a run, resumed ones included."""

    points: list[Point] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Curve:
        """The curve in a JSON file; an empty one where there is none.

        Raises:
            RunError: the file cannot be read.
        """
        if not path.is_file():
            return cls()
        try:
            return cls([Point(**point) for point in json.loads(path.read_text(encoding="utf-8"))])
        except (ValueError, TypeError):
            raise RunError(f"{path} cannot be read: remove it to go on without the figures so far.") from None

    def save(self, path: Path) -> None:
        """Write the file; a cut while writing leaves the one of before."""
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps([asdict(point) for point in self.points], indent=1) + "\n", encoding="utf-8")
        partial.replace(path)

    def samples(self, step: int, batch_size: int) -> int:
        """Samples seen after `step` steps, of `batch_size` since the last point; earlier ones may have had others."""
        before = self.points[-1] if self.points else Point(0, 0, 0.0, {}, {})
        return before.samples + (step - before.step) * batch_size

    def plot(self, path: Path, title: str) -> None:
        """Loss on the left axis, every figure on the right one, over samples seen."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        seen = [point.samples / 1000 for point in self.points]
        figure, loss_axis = pyplot.subplots(figsize=(7, 4))
        loss_axis.plot(seen, [point.losses.get("loss", float("nan")) for point in self.points], color="grey")
        loss_axis.set_xlabel("samples seen (thousands)")
        loss_axis.set_ylabel("training loss (grey)")
        score_axis = loss_axis.twinx()
        for name in sorted({name for point in self.points for name in point.figures}):
            score_axis.plot(seen, [point.figures.get(name, float("nan")) for point in self.points], label=name)
        score_axis.set_ylim(0, 1)
        score_axis.legend(loc="center right", fontsize="small")
        figure.suptitle(title)
        figure.tight_layout()
        figure.savefig(path, dpi=100)
        pyplot.close(figure)
