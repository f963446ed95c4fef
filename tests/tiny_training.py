"""Samples, captions and a configuration to train `tests.tiny_llava` on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from planner.conversation import AssistantTurn, Observation, ObservationTurn, UserTurn
from planner.data.released import to_sample
from planner.format import Action, PlannerOutput
from planner.train.config import TrainConfig

COLOURS = ("red", "green", "blue", "white", "black", "brown")


def write_data(folder: Path) -> Path:
    """Samples with a call and pictures on disk, and their captions: samples.jsonl and captions.json."""
    samples, captions = [], []
    for number, colour in enumerate(COLOURS * 2):
        name = f"{number}.png"
        Image.new("RGB", (40, 30), colour).save(folder / name)
        question = f"Find the {colour} thing" + "!" * number
        call = PlannerOutput(thoughts="Find.", actions=(Action(API_name="echo"),), value="Wait.")
        seen = Observation(skill="echo", content={"colour": colour})
        conversation = (
            UserTurn(text=question, images=(name,)),
            AssistantTurn(output=call),
            ObservationTurn(observations=(seen,), question=question),
            AssistantTurn(output=PlannerOutput(thoughts="Found.", value=f"It is {colour}.")),
        )
        samples.append(to_sample(str(number), conversation) | {"tools": []})
        asked = {"from": "human", "value": "<image>\nDescribe it."}
        captions.append({"image": name, "conversations": [asked, {"from": "gpt", "value": f"A {colour} picture."}]})
    (folder / "samples.jsonl").write_text("\n".join(json.dumps(sample) for sample in samples))
    (folder / "captions.json").write_text(json.dumps(captions))
    return folder


def configured(model: Path, samples: Path, folder: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "run": folder / "run",
        "output": folder / "out",
        "model": str(model),
        "data": [{"path": samples / "samples.jsonl", "images": samples}],
        "lengths": [1024],
        "batch_tokens": 1024,
        "precision": "fp32",
        "learning_rate": 3e-3,
        "log_every": 2,
        "checkpoint_every": 4,
    }
    return TrainConfig.model_validate(settings | changes)
