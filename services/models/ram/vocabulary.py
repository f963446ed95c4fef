"""The tags that a checkpoint knows, each with the score that it needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.core.errors import SkillFailed
from services.models.ram.config import DEFAULT_THRESHOLD

TAGS_FILE = "tags.txt"
THRESHOLDS_FILE = "thresholds.json"
ORIGINAL_TAGS_FILE = "ram_tag_list.txt"
ORIGINAL_THRESHOLDS_FILE = "ram_tag_list_threshold.txt"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tags in the model's order; a picture has a tag when its score is above the tag's threshold."""

    tags: tuple[str, ...]
    thresholds: tuple[float, ...]

    @classmethod
    def of(cls, tags: Sequence[str], thresholds: Sequence[float] | None = None) -> Vocabulary:
        """Tags with their thresholds, or with the default one.

        Raises:
            SkillFailed: the two differ in number.
        """
        if thresholds is None:
            thresholds = [DEFAULT_THRESHOLD] * len(tags)
        if len(tags) != len(thresholds):
            raise SkillFailed(
                f"There are {len(tags)} tags but {len(thresholds)} thresholds: give one a line for each tag."
            )
        return cls(tuple(tags), tuple(thresholds))

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """What `save` wrote."""
        tags = _lines(folder / TAGS_FILE)
        thresholds = json.loads((folder / THRESHOLDS_FILE).read_text(encoding="utf-8"))
        return cls.of(tags, [float(thresholds.get(tag, DEFAULT_THRESHOLD)) for tag in tags])

    def save(self, folder: Path) -> None:
        (folder / TAGS_FILE).write_text("\n".join(self.tags) + "\n", encoding="utf-8")
        thresholds = dict(zip(self.tags, self.thresholds, strict=True))
        (folder / THRESHOLDS_FILE).write_text(json.dumps(thresholds, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load_original(cls, weights: Path, tags: Path | None, thresholds: Path | None) -> Vocabulary:
        """The original project's text files, one line for each tag.

        Args:
            weights: the `.pth`; files that are not named are looked for beside it.

        Raises:
            SkillFailed: there is no list of tags; the message says where to get it.
        """
        tags = tags or weights.with_name(ORIGINAL_TAGS_FILE)
        if not tags.is_file():
            raise SkillFailed(
                f"RAM needs its list of tags: put ram/data/{ORIGINAL_TAGS_FILE} of "
                f"github.com/xinyu1205/recognize-anything beside {weights.name}, or name it by the option `tags`."
            )
        thresholds = thresholds or weights.with_name(ORIGINAL_THRESHOLDS_FILE)
        found = [float(line) for line in _lines(thresholds)] if thresholds.is_file() else None
        return cls.of(_lines(tags), found)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
