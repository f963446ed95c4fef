"""The words around a conversation: tool descriptions and observations.

Serving, training data and scoring all render through here, so that a model is asked at run time in
exactly the words it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from planner.conversation import Observation, ObservationTurn
from services.core.spec import SkillSpec

SYSTEM = 'You help people with pictures. Reply in JSON: "thoughts", "actions", "value".'
REFERENCES = (
    'An argument may be what another action gives: "$1.boxes" is the field boxes of the first action\'s result, '
    '"$1.boxes.0" its first item, "$NAME.boxes" the newest result of the tool NAME, "$user.boxes" what the person '
    'marked. Tools work on the newest picture, mask or map, unless "image", "mask" or the like names another, such as '
    '"image 2". Boxes, points and masks hold for the picture in which they were found, and for those made from it.'
)


def compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tool_line(spec: SkillSpec) -> str:
    """One line about a skill: name, parameters, summary."""
    return f"{spec.name}({', '.join(spec.args_model.model_fields)}): {spec.summary}"


def gives(spec: SkillSpec) -> str:
    """What a result of the skill may be asked for: "Gives boxes, phrases." """
    return f"Gives {', '.join(spec.result_model.model_fields)}."


def system_text(tools: Sequence[SkillSpec], learned: Collection[str] = ()) -> str:
    """What stands in front of a conversation.

    Args:
        learned: names of the tools that the model was trained to use. Nothing need be said of these but which of them
            are not offered: a hundred tokens less, in training and in service. Others, which it meets for the first
            time, are described. A model that was trained on nothing of ours is told how actions use each other's
            results, where there are several tools.
    """
    offered = {spec.name for spec in tools}
    missing = [name for name in learned if name not in offered]
    references = not learned and len(tools) > 1
    described = [
        f"{tool_line(spec)} {gives(spec)}" if references else tool_line(spec)
        for spec in tools
        if spec.name not in learned
    ]
    lines = [SYSTEM, REFERENCES] if references else [SYSTEM]
    if missing:
        lines.append(
            f"Not available: {', '.join(missing)}." if len(missing) < len(learned) else "No tool is available."
        )
    if described:
        lines += ["More tools:" if learned else "Tools:", *described]
    return "\n".join(lines)


def observation_line(observation: Observation) -> str:
    verb = "failed" if observation.failed else "model outputs"
    return f"{observation.skill} {verb}: {compact_json(observation.content)}"


def observation_text(turn: ObservationTurn) -> str:
    """The paper's X_skill_result: what each skill gave, then the first question again."""
    return "\n".join([*(observation_line(o) for o in turn.observations), "", turn.question])
