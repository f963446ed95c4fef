"""A picture for a model that reads only: its captions, and its things with their boxes."""

from __future__ import annotations

from planner.data.answers import coordinates
from planner.data.labels import LabelledPicture
from planner.data.results import NoResult


def described(picture: LabelledPicture) -> str:
    """Captions, then one line a thing: `red car: [0.1, 0.2, 0.5, 0.6]`.

    Raises:
        NoResult: nothing is known of the picture.
    """
    things = [
        f"{item.colour + ' ' if item.colour else ''}{item.noun.name}: {coordinates([round(v, 2) for v in item.box])}"
        for item in picture.objects
    ]
    texts = [f'text "{text}": {coordinates([round(v, 2) for v in box])}' for text, box in picture.lines]
    if not (picture.captions or things or texts):
        raise NoResult("nothing is known of the picture")
    return "\n".join(["Captions:", *picture.captions, "Things, with boxes [x0, y0, x1, y1]:", *things, *texts])
