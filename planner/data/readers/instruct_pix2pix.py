"""InstructPix2Pix (arXiv 2211.09800): folders of picture pairs with `prompt.json`, listed in `seeds.json`."""

from __future__ import annotations

from pathlib import Path

from planner.data.labels import LabelledPicture
from planner.data.readers.base import Reader, everyday, picture_file, picture_size, read_json


def read(folder: Path) -> Reader:
    """The pictures before each edit; `extra["edit"]` is the instruction, `extra["after"]` the edited picture's file.

    Raises:
        DataError: `seeds.json` or a `prompt.json` cannot be read.
    """
    pairs = [(str(name), str(seeds[0])) for name, seeds in read_json(folder / "seeds.json") if seeds]

    def make(index: int) -> LabelledPicture:
        inside, seed = pairs[index]
        prompt = read_json(folder / inside / "prompt.json")
        before = f"{inside}/{seed}_0.jpg"
        edit = str(prompt["edit"]).strip().rstrip(".")
        return LabelledPicture(
            name=before,
            size=picture_size(folder, before),
            captions=(str(prompt["input"]),) if prompt.get("input") else (),
            pixels=picture_file(folder, before),
            extra={"edit": edit[:1].lower() + edit[1:], "after": f"{inside}/{seed}_1.jpg"},
        )

    return Reader(len(pairs), make, everyday())
