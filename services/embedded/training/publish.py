"""A finished run becomes a checkpoint: fp16 safetensors, a model card, and the curve."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from services.embedded.training.curve import Curve

CARD = "model_card.json"
FILE_BYTES_MAX = 25 * 10**6
LICENCE = "Apache-2.0"


def weights_folder() -> Path:
    """Where the package keeps its checkpoints."""
    return Path(str(files("services.embedded.weights")))


def publish(
    folder: Path, *, name: str, config: dict[str, Any], curve: Curve, figures: dict[str, float], metric: str
) -> str | None:
    """Move a saved checkpoint in `folder` to the package, unless the one there scores higher.

    Returns:
        None when it was published, else why not.

    Raises:
        ValueError: a file of weights is larger than the repository takes.
    """
    target = weights_folder() / name
    card = published_card(name)
    standing = card["dev"].get(metric) if card else None
    if standing is not None and not figures[metric] > standing:
        return f"the published {name} has {metric} {standing:.4f}, this run {figures[metric]:.4f}"
    for file in folder.rglob("*.safetensors"):
        to_half(file)
        file.chmod(0o644)  # safetensors writes files that nobody else may read
        if file.stat().st_size > FILE_BYTES_MAX:
            raise ValueError(
                f"{file.name} has {file.stat().st_size} bytes, more than {FILE_BYTES_MAX}: shrink the model."
            )
    for file in folder.rglob("config.json"):
        forget_folder(file)
    last = curve.points[-1]
    card = {
        "name": name,
        "licence": LICENCE,
        "data": "services/embedded/world: scenes composed from sprites named in NOTICE; train seed 1, dev seed 2",
        "recipe": f"services/embedded/recipes/{name}.py",
        "config": config,
        "steps": last.step,
        "samples": last.samples,
        "minutes": round(last.minutes, 1),
        "dev": {key: round(value, 4) for key, value in figures.items()},
        "metric": metric,
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    curve.save(folder / "curve.json")
    curve.plot(folder / "curve.png", f"{name}: {last.samples:,} samples")
    # An interruption while files are copied leaves the checkpoint of before.
    partial = target.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial)
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
    return None


def to_half(file: Path) -> None:
    """Rewrite a safetensors file with its floating-point tensors in fp16; integers stay."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    save_file(
        {name: (value.to(torch.float16) if value.is_floating_point() else value) for name, value in tensors.items()},
        file,
        metadata={"format": "pt"},
    )


def forget_folder(file: Path) -> None:
    """Take out of a configuration the folder that its network was once loaded from."""
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if config.pop("_name_or_path", None) is not None:
        file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def published_card(name: str) -> dict[str, Any] | None:
    """The model card of the package's checkpoint; None where there is none yet."""
    file = weights_folder() / name / CARD
    if not file.is_file():
        return None
    card: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return card
