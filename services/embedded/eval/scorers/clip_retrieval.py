"""Captions of pictures, pictures of captions, and facts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.measures import mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.splits import Split, picture
from services.embedded.facts import INDEX
from services.embedded.world.language import plain_caption
from services.embedded.world.render import Rendered
from services.retrieval.builder import IndexBuilder
from services.retrieval.entries import Entry
from services.skills.clip_retrieval import ClipRetrievalArgs


class ClipRetrievalScorer(Scorer):
    """An index of the captions of all scenes of the split is searched with each picture, and an index of all pictures
    with each caption; R@1 is how often the first result is the picture's own (or one with the same caption), averaged
    over both ways. In the unseen style the scenes are fewer, so that it is easier. "Facts" is how often the first entry
    of the index that the checkpoint carries is about something in the picture.
    """

    skill = "clip_retrieval"

    def score(self, skills: Asks, split: Split) -> Score:
        scenes = split.scenes
        captions = [plain_caption(drawn) for drawn in scenes]
        with tempfile.TemporaryDirectory() as folder:
            found_captions = self._captions(skills, Path(folder), scenes, captions)
            found_pictures = self._pictures(skills, Path(folder), scenes, captions)
        facts = self._facts(skills, scenes)
        to_caption = [found == wanted for found, wanted in zip(found_captions, captions, strict=True)]
        to_picture = [captions[found] == wanted for found, wanted in zip(found_pictures, captions, strict=True)]
        return Score(
            figures={
                "r1": mean([mean(to_caption), mean(to_picture)]),
                "captions": mean(to_caption),
                "pictures": mean(to_picture),
                "facts": mean(
                    concept_of(fact) in {item.concept for item in drawn.objects}
                    for fact, drawn in zip(facts, scenes, strict=True)
                    if fact is not None
                ),
            },
            counts={"scenes": len(scenes)},
            examples=[
                _example(*case)
                for case in zip(scenes, captions, found_captions, to_caption, to_picture, facts, strict=True)
            ],
        )

    def call(self, drawn: Rendered) -> SkillCall[ClipRetrievalArgs]:
        return SkillCall(ClipRetrievalArgs(), {Symbol.IMAGE: picture(drawn)})

    def _captions(self, skills: Asks, folder: Path, scenes: Sequence[Rendered], captions: Sequence[str]) -> list[str]:
        """The caption found for each picture."""
        index = build(skills, folder / "captions", [Entry(caption) for caption in dict.fromkeys(captions)])
        searched = skills.configured(self.skill, index=str(index))
        results = searched.ask(self.skill, (_search(drawn) for drawn in scenes), len(scenes))
        return [result.retrieval_results[0].caption for result in results]

    def _pictures(self, skills: Asks, folder: Path, scenes: Sequence[Rendered], captions: Sequence[str]) -> list[int]:
        """The number of the picture found for each caption."""
        index = build(skills, folder / "pictures", list(_saved(scenes, folder)))
        searched = skills.configured(self.skill, index=str(index))
        calls = (_search(drawn, caption) for drawn, caption in zip(scenes, captions, strict=True))
        return [int(result.retrieval_results[0].caption) for result in searched.ask(self.skill, calls, len(scenes))]

    def _facts(self, skills: Asks, scenes: Sequence[Rendered]) -> list[Any]:
        """The first fact found for each picture; None where the checkpoint carries no facts."""
        if not (Path(skills.source(self.skill)) / INDEX).is_dir():
            return [None] * len(scenes)
        results = skills.ask(self.skill, (_search(drawn) for drawn in scenes), len(scenes))
        return [result.retrieval_results[0] for result in results]


def build(skills: Asks, folder: Path, entries: Sequence[Entry]) -> Path:
    """An index of entries for the scored checkpoint."""
    IndexBuilder(folder, skills.clip(), "clip_retrieval").run(entries, len(entries))
    return folder


def concept_of(fact: Any) -> str:
    """The concept that a fact of the embedded index is about."""
    return str(fact.source or "").rpartition(": ")[2]


def _saved(scenes: Sequence[Rendered], folder: Path) -> Iterator[Entry]:
    """Entries for pictures, which are written as files; the number of each is its caption."""
    for index, drawn in enumerate(scenes):
        path = folder / f"{index}.png"
        picture(drawn).save(path, compress_level=1)
        yield Entry(str(index), picture=path)


def _search(drawn: Rendered, query: str = "") -> SkillCall[ClipRetrievalArgs]:
    return SkillCall(ClipRetrievalArgs(top_k=1, query=query), {Symbol.IMAGE: picture(drawn)})


def _example(drawn: Rendered, caption: str, found: str, to_caption: bool, to_picture: bool, fact: Any) -> Example:
    def panels() -> list[Image.Image]:
        return [picture(drawn)]

    lines = [f"found: {found}", *([] if to_caption else [f"its own: {caption}"])]
    if fact is not None:
        lines.append(f"fact: {fact.caption}")
    return Example((to_caption + to_picture) / 2, lines, panels)


SCORER = ClipRetrievalScorer
