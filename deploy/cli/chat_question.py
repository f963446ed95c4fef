"""What goes with the next question of a chat: pictures and marks, as a person types them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.cli.picture_files import given_picture
from deploy.errors import UsageError
from llava_plus.chat import Options

_ALREADY_THERE = ("img_", "data:", "http:", "https:", "-")


@dataclass(slots=True)
class Enclosed:
    """Pictures, and what is marked in the current one; a mask or reference is a path, a handle or a URL."""

    pictures: list[str | bytes] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    point_labels: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    mask: str | None = None
    reference: tuple[str, str] | None = None

    def add_picture(self, text: str) -> None:
        """Raises UsageError: no such file."""
        self.pictures.append(given_picture(existing(text)))

    def add_point(self, text: str) -> None:
        """`X,Y`, or `X,Y,0` for a point beside the object.

        Raises:
            UsageError: it is not that.
        """
        numbers = _numbers(text, (2, 3), "X,Y, or X,Y,0 for a point that is beside the object")
        self.points.append(numbers[:2])
        self.point_labels.append(0 if numbers[2:] == [0.0] else 1)

    def add_box(self, text: str) -> None:
        """`X0,Y0,X1,Y1`; corners in any order.

        Raises:
            UsageError: it is not that.
        """
        x0, y0, x1, y1 = _numbers(text, (4,), "X0,Y0,X1,Y1")
        self.boxes.append([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])

    def options(self) -> Options:
        """As the client takes it; the pictures are not among it."""
        options = Options()
        if self.points:
            options |= Options(points=self.points, point_labels=[1 if label else 0 for label in self.point_labels])
        if self.boxes:
            options |= Options(boxes=self.boxes)
        if self.mask is not None:
            options |= Options(mask=self.mask)
        if self.reference is not None:
            options |= Options(reference=self.reference)
        return options

    def words(self) -> str:
        """What is enclosed, for the person; empty for nothing."""
        counted = ((len(self.pictures), "picture"), (len(self.points), "point"), (len(self.boxes), "box"))
        said = [f"{count} {noun}{_plural(noun) if count > 1 else ''}" for count, noun in counted if count]
        said += ["a mask"] if self.mask is not None else []
        said += ["a reference"] if self.reference is not None else []
        return ", ".join(said)


def existing(text: str) -> str:
    """A picture's path as it is, once it is known to be there.

    Raises:
        UsageError: it is not.
    """
    if text.startswith(_ALREADY_THERE):
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        raise UsageError(f"{text}: there is no such file.")
    return str(path)


def _numbers(text: str, counts: Sequence[int], form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(0.0 <= number <= 1.0 for number in numbers):
        raise UsageError(f"{text!r} is not {form}, each 0 to 1 of the picture's width and height.")
    return numbers


def _plural(noun: str) -> str:
    return "es" if noun.endswith("x") else "s"
