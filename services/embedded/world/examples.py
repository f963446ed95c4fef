"""Writes a handful of scenes with their labels as files, for tests and documentation that must not need npm.

python -m services.embedded.world.examples tests/data/scenes
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from services.core.types import MaskRLE
from services.embedded.world.concepts import BACKGROUNDS, DEV_SEED, SIGN, TRAIN_STYLES
from services.embedded.world.labels import tags
from services.embedded.world.language import plain_caption
from services.embedded.world.questions import questions
from services.embedded.world.render import Rendered, render
from services.embedded.world.scene import sample_scene, scene_rng

_SIGNS: Final = 3


def described(drawn: Rendered) -> dict[str, Any]:
    """A picture's labels as JSON: the scene, objects with boxes and masks, caption, tags and questions."""
    objects = [
        {
            "concept": item.concept,
            "colour": item.colour,
            "text": item.text,
            "group": item.group,
            "box": [round(value, 6) for value in item.box],
            "mask": MaskRLE.from_array(drawn.mask(index)).model_dump(mode="json"),
        }
        for index, item in enumerate(drawn.objects)
    ]
    asked = questions(drawn, np.random.default_rng(0))
    return {
        "caption": plain_caption(drawn),
        "tags": tags(drawn),
        "objects": objects,
        "questions": [{"question": item.question, "answer": item.answer, "kind": item.kind} for item in asked],
        "scene": drawn.scene.to_json(),
    }


def write_examples(folder: Path) -> list[Path]:
    """Write NAME.webp and NAME.json for a scene on each background and for three scenes with signs.

    Returns:
        The pictures' paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {*BACKGROUNDS, *(f"{SIGN}{number}" for number in range(1, _SIGNS + 1))}
    written = []
    index = 0
    while wanted:
        drawn = render(sample_scene(scene_rng(DEV_SEED, index), TRAIN_STYLES))
        index += 1
        signed = sorted(name for name in wanted if name.startswith(SIGN))
        has_sign = any(item.concept == SIGN for item in drawn.objects)
        name = (signed[0] if signed else "") if has_sign else drawn.scene.background
        if name not in wanted or len(drawn.objects) < 2:
            continue
        wanted.remove(name)
        path = folder / f"{name}.webp"
        Image.fromarray(drawn.image).save(path, quality=90, method=6)
        labels = json.dumps(described(drawn), indent=1, ensure_ascii=False)
        path.with_suffix(".json").write_text(labels + "\n", encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write example scenes with labels.")
    parser.add_argument("folder", type=Path)
    print(f"{len(write_examples(parser.parse_args().folder))} scenes")
