"""The retrieval index of the embedded CLIP: facts about each concept, found by the concept's name.

`python -m services.embedded.facts` makes it from the published checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from services.embedded.world.concepts import CONCEPTS
from services.embedded.world.language import article
from services.retrieval.builder import IndexBuilder, Report
from services.retrieval.encoder import ClipEncoder
from services.retrieval.entries import Entry

CHECKPOINT = "embedded:clip"
INDEX = "index"


def facts() -> Iterator[Entry]:
    """What is known of each concept."""
    for concept in CONCEPTS:
        for fact in concept.facts:
            yield Entry(fact, match=article(concept.singular), source=f"embedded world: {concept.name}")


def build_index(folder: Path) -> Report:
    """Make `index` inside a CLIP checkpoint's folder, in place of one that is there."""
    entries = list(facts())
    index = folder / INDEX
    if index.exists():
        shutil.rmtree(index)
    encoder = ClipEncoder(str(folder), lambda model: model.float().eval(), lambda pixels: pixels)
    return IndexBuilder(index, encoder, CHECKPOINT).run(entries, len(entries))


if __name__ == "__main__":
    from services.core.checkpoints import checkpoint_source

    print(f"{build_index(Path(checkpoint_source(CHECKPOINT))).total} facts")
