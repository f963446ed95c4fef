"""A skill that is in no recipe, and questions that mean it."""

from __future__ import annotations

from collections.abc import Sequence

from services.core.skill import Skill, SkillCall
from services.core.types import SkillArgs, SkillResult

QUESTIONS = """\
# the hue of things
What hue has the {thing}?\t{"thing": "{thing}"}\tThe {thing} is {result.hue}.
Tell me the hue of the {thing}\t{"thing": "{thing}"}
Which hue is it?
What is the hue here?\t\tIt is {result.hue}.
Hue of the {thing}, please\t{"thing": "{thing}"}\tIt is {result.hue}.
"""


class HueArgs(SkillArgs):
    """Of what."""

    thing: str = ""


class HueResult(SkillResult):
    """The hue."""

    hue: str


class Hue(Skill[HueArgs, HueResult]):
    """Names the hue of a thing in the picture."""

    name = "hue"
    default_checkpoint = "none"
    Args = HueArgs
    Result = HueResult

    def setup(self) -> None:
        pass

    def predict(self, batch: Sequence[SkillCall[HueArgs]]) -> Sequence[HueResult]:
        return [HueResult(hue="red" if call.image.getpixel((0, 0)) == (255, 0, 0) else "blue") for call in batch]
