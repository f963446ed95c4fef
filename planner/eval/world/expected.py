"""Which calls are right for a question about the embedded world: with them a planner's faults are told from skills'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from planner.eval.cases import Constraint, ExpectedCall, Way
from services.embedded.world.concepts import CONCEPT

SCENE_WORDS: Mapping[str, str] = {
    "night": "night|dark",
    "snow": "snow|winter",
    "autumn": "autumn|fall",
    "desert": "desert",
    "underwater": "underwater|under water|under the sea",
    "beach": "beach",
}
"""Words by which a prompt names a scene."""
_DESCRIBING = "describe|what|caption|summar|happening|see|show|sentence|how would you"


def call(skill: str, marks: Literal["points", "boxes"] | None = None, **args: Constraint) -> ExpectedCall:
    return ExpectedCall(skill=skill, args=args, marks=marks)


def way(*calls: ExpectedCall) -> Way:
    """The calls one after the other."""
    return tuple((one,) for one in calls)


def holding(*words: str, optional: bool = False) -> Constraint:
    """A text with all of these in it; "a|b" is met by either."""
    return Constraint(has=words, optional=optional)


def naming(name: str) -> Constraint:
    """A text that names a concept, in singular or plural."""
    return holding(f"{name}|{CONCEPT[name].plural}")


def finding(name: str) -> Way:
    return way(call("grounding_dino", caption=naming(name)))


def cutting_out(name: str) -> Way:
    return way(call("grounding_dino+sam", caption=naming(name)))


def asking(*words: str) -> Way:
    """A question to the captioner."""
    return way(call("blip2", prompt=holding(*words)))


def describing() -> Way:
    return way(call("blip2", prompt=holding(_DESCRIBING, optional=True)))


def looking_up(name: str) -> Way:
    """By the picture, or by the name."""
    words = f"{name}|{CONCEPT[name].plural}"
    return way(call("clip_retrieval", query=holding(words, optional=True)))


def painting(*words: str) -> Way:
    return way(call("stable_diffusion", prompt=holding(*words)))


def editing_with(*words: str) -> Way:
    return way(call("instruct_pix2pix", prompt=holding(*words)))
