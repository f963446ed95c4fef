"""Names of what is in the picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.measures import Tally, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer, Table
from services.embedded.eval.splits import Split, picture
from services.embedded.world.labels import tags
from services.embedded.world.render import Rendered
from services.skills.ram import RamArgs

_HARDEST = 10


class RamScorer(Scorer):
    """The background and every concept once, against the tags that the skill gives. Precision, recall and F1 count all
    tags of all scenes together (micro average); the mean over tags gives rare ones the same weight.
    """

    skill = "ram"

    def score(self, skills: Asks, split: Split) -> Score:
        results = skills.ask(self.skill, map(self.call, split.scenes), len(split.scenes))
        whole = Tally()
        by_tag: dict[str, Tally] = defaultdict(Tally)
        examples = []
        for drawn, result in zip(split.scenes, results, strict=True):
            wanted = tags(drawn)
            whole.add(result.tags, wanted)
            for tag in {*result.tags, *wanted}:
                by_tag[tag].add([tag] * (tag in result.tags), [tag] * (tag in wanted))
            examples.append(_example(drawn, result.tags, wanted))
        wanted_tags = {tag: tally for tag, tally in by_tag.items() if tally.wanted}
        return Score(
            figures={
                "f1": whole.f1,
                "precision": whole.precision,
                "recall": whole.recall,
                "f1_by_tag": mean(tally.f1 for tally in wanted_tags.values()),
            },
            counts={"scenes": len(split.scenes), "tags": whole.wanted},
            examples=examples,
            tables=[_hardest(wanted_tags)],
        )

    def call(self, drawn: Rendered) -> SkillCall[RamArgs]:
        return SkillCall(RamArgs(), {Symbol.IMAGE: picture(drawn)})


def _hardest(by_tag: dict[str, Tally]) -> Table:
    order = sorted(by_tag, key=lambda tag: (by_tag[tag].f1, tag))[:_HARDEST]
    rows = [
        (tag, f"{by_tag[tag].precision:.2f}", f"{by_tag[tag].recall:.2f}", str(by_tag[tag].wanted)) for tag in order
    ]
    return Table("Hardest tags", ("tag", "precision", "recall", "scenes"), rows)


def _example(drawn: Rendered, found: Sequence[str], wanted: Sequence[str]) -> Example:
    tally = Tally()
    tally.add(found, wanted)

    def panels() -> list[Image.Image]:
        return [picture(drawn)]

    missed = [tag for tag in wanted if tag not in found]
    extra = [tag for tag in found if tag not in wanted]
    caption = [
        "right: " + ", ".join(tag for tag in found if tag in wanted),
        *([f"missed: {', '.join(missed)}"] if missed else []),
        *([f"wrong: {', '.join(extra)}"] if extra else []),
    ]
    return Example(tally.f1, caption, panels)


SCORER = RamScorer
