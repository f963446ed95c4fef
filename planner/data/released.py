"""The form in which LLaVA-Plus published its training data, to and from the internal one.

A sample is `{"id", "image", "conversations": [...]}`; people's turns are `{"from": "human", "value"}`, the planner's
`{"from": "gpt", "thoughts", "actions", "value"}`. A skill's result is a human turn "NAME model outputs: {...}" that
ends in the question asked again (the paper's X_skill_result). A turn that brings a picture starts with "<image>".

What LLaVA and LLaVA-Plus published is read too, where it differs: the mark of a picture stands anywhere in a turn,
results are Python's dictionaries ("NAME output: {'boxes': ...}"), and the question comes after "Please summarize the
model outputs and answer my first question: ".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from planner.conversation import AssistantTurn, Conversation, Observation, ObservationTurn, Turn, UserTurn
from planner.dialects.tolerant import loads
from planner.format import PlannerOutput, UnparsableOutput
from planner.prompt import observation_text

IMAGE = "<image>"
IMAGE_MARK = f"{IMAGE}\n"
Sample = dict[str, Any]

_OBSERVATION = re.compile(r"^(?P<skill>\S+) (?P<verb>model outputs|outputs?|failed): (?P<content>\{.*\})$")
_ASKED_AGAIN = re.compile(r"^\s*(?:Please summarize the model outputs and answer|Answer) my first question:\s*")


def to_sample(sample_id: str, conversation: Conversation) -> Sample:
    """A conversation as one released sample; `image` is the picture's name, or all of them when there are several."""
    images = [name for turn in conversation if isinstance(turn, UserTurn) for name in turn.images]
    sample: Sample = {"id": sample_id}
    if images:
        sample["image"] = images[0] if len(images) == 1 else images
    return sample | {"conversations": [_entry(turn) for turn in conversation]}


def to_conversation(sample: Sample) -> Conversation:
    """The inverse of `to_sample`; also of what was published.

    Raises:
        ValueError: the sample marks more pictures than it names, or a turn is of neither kind.
    """
    image = sample.get("image", ())
    names = iter([image] if isinstance(image, str) else list(image))
    return tuple(_turn(entry, names) for entry in sample["conversations"])


def _entry(turn: Turn) -> dict[str, Any]:
    if isinstance(turn, AssistantTurn):
        return {"from": "gpt"} | turn.output.model_dump(mode="json")
    if isinstance(turn, ObservationTurn):
        return {"from": "human", "value": observation_text(turn)}
    return {"from": "human", "value": IMAGE_MARK * len(turn.images) + turn.text}


def _turn(entry: dict[str, Any], names: Iterator[str]) -> Turn:
    if entry["from"] == "gpt":
        fields = {key: entry[key] for key in ("thoughts", "actions", "value")}
        return AssistantTurn(output=PlannerOutput.model_validate(fields))
    if entry["from"] != "human":
        raise ValueError(f"A turn is from 'human' or 'gpt', not {entry['from']!r}.")
    text = str(entry["value"])
    observations = list(_observations(text.split("\n")))
    if observations:
        question = "\n".join(text.split("\n")[len(observations) + 1 :])
        return ObservationTurn(observations=tuple(observations), question=_asked(question))
    text, images = _pictures(text, names)
    return UserTurn(text=text, images=images)


def _pictures(text: str, names: Iterator[str]) -> tuple[str, tuple[str, ...]]:
    """The text without its marks, and the pictures that they stand for; marks inside it count while there are names."""
    images = []
    while text.startswith(IMAGE_MARK):
        text = text.removeprefix(IMAGE_MARK)
        images.append(_named(names))
    while IMAGE in text:
        name = next(names, None)
        if name is None:
            break
        text = text.replace(IMAGE, "", 1).strip()
        images.append(name)
    if text.endswith(f"\n{IMAGE}"):
        _named(names)
    return text, tuple(images)


def _named(names: Iterator[str]) -> str:
    try:
        return next(names)
    except StopIteration:
        raise ValueError("The sample has more <image> marks than pictures.") from None


def _asked(question: str) -> str:
    """The question alone: the dialect of the published checkpoints puts its own words in front of it."""
    asked, found = _ASKED_AGAIN.subn("", question)
    return asked.replace(IMAGE, "").strip() if found else question


def _observations(lines: Sequence[str]) -> Iterator[Observation]:
    for line in lines:
        found = _OBSERVATION.match(line)
        if found is None:
            return
        content = _content(found["content"])
        if content is None:
            return
        yield Observation(skill=found["skill"], content=content, failed=found["verb"] == "failed")


def _content(text: str) -> dict[str, Any] | None:
    """A result, None where the text is something else."""
    try:
        content = loads(text)
    except UnparsableOutput:
        return None
    return content if isinstance(content, dict) else None
