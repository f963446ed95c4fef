"""Captions, and answers to questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.measures import Tally, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer, Table
from services.embedded.eval.splits import Split, picture
from services.embedded.world.language import named_concepts, named_scene
from services.embedded.world.questions import KINDS, Question, questions
from services.embedded.world.render import Rendered
from services.skills.blip2 import Blip2Args

QUESTIONS = 2
"""Questions about each scene; kinds take turns."""


class Blip2Scorer(Scorer):
    """The caption is read for the concepts and the background that it names. F1 counts the concepts of all scenes
    together. Answers to questions must be the same words; where a question asks for all that there is, they must name
    the same concepts.
    """

    skill = "blip2"

    def score(self, skills: Asks, split: Split) -> Score:
        scenes = split.scenes
        captions = [result.caption for result in skills.ask(self.skill, map(self.call, scenes), len(scenes))]
        asked = [questions_about(drawn, index, split) for index, drawn in enumerate(scenes)]
        calls = (_question(drawn, one) for drawn, mine in zip(scenes, asked, strict=True) for one in mine)
        answers = iter(skills.ask(self.skill, calls, sum(map(len, asked))))
        said = [[next(answers).caption for _ in mine] for mine in asked]
        tally = Tally()
        by_kind: dict[str, list[bool]] = defaultdict(list)
        examples = []
        for drawn, caption, mine, theirs in zip(scenes, captions, asked, said, strict=True):
            tally.add(named_concepts(caption), {item.concept for item in drawn.objects})
            for one, answer in zip(mine, theirs, strict=True):
                by_kind[one.kind].append(right(one, answer))
            examples.append(_example(drawn, caption, mine[:1], theirs[:1]))
        verdicts = [verdict for mine in by_kind.values() for verdict in mine]
        return Score(
            figures={
                "objects_f1": tally.f1,
                "scene": mean(
                    named_scene(caption) == drawn.scene.background
                    for caption, drawn in zip(captions, scenes, strict=True)
                ),
                "answers": mean(verdicts),
            },
            counts={"scenes": len(scenes), "questions": len(verdicts)},
            examples=examples,
            tables=[
                Table(
                    "Answers by kind of question",
                    ("kind", "right", "questions"),
                    [(kind, f"{mean(by_kind[kind]):.2f}", str(len(by_kind[kind]))) for kind in KINDS if by_kind[kind]],
                )
            ],
        )

    def call(self, drawn: Rendered) -> SkillCall[Blip2Args]:
        return SkillCall(Blip2Args(), {Symbol.IMAGE: picture(drawn)})


def questions_about(drawn: Rendered, index: int, split: Split) -> list[Question]:
    """A few of the questions that the scene has an answer to, another kind first for each scene."""
    order = list(KINDS)
    offset = index * QUESTIONS % len(order)
    found = {one.kind: one for one in questions(drawn, split.rng(index))}
    turned = [*order[offset:], *order[:offset]]
    return [found[kind] for kind in turned if kind in found][:QUESTIONS]


def right(asked: Question, answer: str) -> bool:
    """Whether an answer says what it should."""
    if asked.kind == "contents":
        return named_concepts(answer) == named_concepts(asked.answer)
    return _plain(answer) == _plain(asked.answer)


def _plain(text: str) -> str:
    return " ".join(text.lower().strip(" .!").split())


def _question(drawn: Rendered, asked: Question) -> SkillCall[Blip2Args]:
    return SkillCall(Blip2Args(prompt=asked.question), {Symbol.IMAGE: picture(drawn)})


def _example(drawn: Rendered, caption: str, asked: Sequence[Question], answers: Sequence[str]) -> Example:
    tally = Tally()
    tally.add(named_concepts(caption), {item.concept for item in drawn.objects})
    verdicts = [named_scene(caption) == drawn.scene.background]
    lines = [caption]
    for one, answer in zip(asked, answers, strict=True):
        verdicts.append(right(one, answer))
        lines.append(f"{one.question} {answer}" + ("" if verdicts[-1] else f" (should be: {one.answer})"))

    def panels() -> list[Image.Image]:
        return [picture(drawn)]

    return Example(mean([tally.f1, *verdicts]), lines, panels)


SCORER = Blip2Scorer
