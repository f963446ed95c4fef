"""Shares with their uncertainty, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Z_95 = 1.959964
"""Standard deviations of a normal distribution that hold 95% of it."""


@dataclass(frozen=True, slots=True)
class Share:
    """`right` of `total`."""

    right: int
    total: int

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Share:
        known = list(outcomes)
        return cls(sum(known), len(known))

    @property
    def value(self) -> float | None:
        """The fraction, None of nothing."""
        return self.right / self.total if self.total else None

    def interval(self, z: float = Z_95) -> tuple[float, float]:
        """Wilson's score interval (E. B. Wilson, 1927): what the fraction may be when the total is a sample."""
        if not self.total:
            return 0.0, 1.0
        n, p = self.total, self.right / self.total
        middle = p + z * z / (2 * n)
        spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        low, high = (middle - spread) / scale, (middle + spread) / scale
        # At the ends the bound is exact, which rounding may miss.
        return (0.0 if self.right == 0 else low), (1.0 if self.right == n else high)

    def shown(self) -> str:
        """ "41/50, 82% (69 to 90)"; a dash for nothing."""
        if not self.total:
            return "-"
        low, high = self.interval()
        return f"{self.right}/{self.total}, {100 * self.right / self.total:.0f}% ({100 * low:.0f} to {100 * high:.0f})"

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval()
        return {
            "right": self.right,
            "total": self.total,
            "share": None if self.value is None else round(self.value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, Share):
        return value.shown()
    if isinstance(value, float):
        return f"{value:.1f}"
    return "-" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
