"""The embedded planner's eyes: a CLIP tower, its picture preprocessing and the projector.

A weights folder says in `vision_config.json` where they are. Either the tower is its own (`vision_config`, and the
tower's tensors in `vision.safetensors`), or it is a skill's checkpoint (`"tower": "embedded:clip"`), and
`vision.safetensors` holds the projector alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.core.checkpoints import checkpoint_source

FILE = "vision.safetensors"
CONFIG = "vision_config.json"
_CLIP_TOWER = "vision_model."


@dataclass(frozen=True)
class Vision:
    """What a weights folder says of its vision parts.

    Attributes:
        config: the tower's geometry, as `CLIPVisionConfig` takes it.
        mean, std: of pixels, three each.
        layer: which layer's features the planner sees.
        tower: folder of the checkpoint that the tower is taken from; None where it is the folder's own.
    """

    weights: Path
    config: dict[str, Any]
    mean: list[float]
    std: list[float]
    layer: int
    tower: Path | None

    @property
    def side(self) -> int:
        return int(self.config["image_size"])

    @property
    def tokens(self) -> int:
        """How many tokens a picture takes."""
        return int((self.side // self.config["patch_size"]) ** 2)

    def state(self) -> dict[str, Any]:
        """Tower and projector in fp32: keys `vision_tower.*` and `multi_modal_projector.*`."""
        from safetensors.torch import load_file

        tensors = load_file(self.weights / FILE)
        if self.tower is not None:
            clip = load_file(self.tower / "model.safetensors")
            tensors |= {
                f"vision_tower.{name.removeprefix(_CLIP_TOWER)}": tensor
                for name, tensor in clip.items()
                if name.startswith(_CLIP_TOWER) and "position_ids" not in name
            }
        return {key: tensor.float() for key, tensor in tensors.items()}

    def image_processor(self) -> Any:
        """Pictures are squeezed into the tower's square: nothing at their edges is lost."""
        from transformers import CLIPImageProcessor

        square = {"height": self.side, "width": self.side}
        return CLIPImageProcessor(size=square, crop_size=square, image_mean=self.mean, image_std=self.std)


def read_vision(weights: Path) -> Vision:
    """The vision parts of a weights folder.

    Raises:
        SkillFailed: the tower's checkpoint is not there.
    """
    settings = json.loads((weights / CONFIG).read_text(encoding="utf-8"))
    layer = settings.get("feature_layer", -2)
    if "tower" not in settings:
        return Vision(
            weights, settings["vision_config"], settings["image_mean"], settings["image_std"], layer, tower=None
        )
    tower = Path(checkpoint_source(settings["tower"]))
    config, pixels = tower_settings(tower)
    return Vision(weights, config, list(pixels["image_mean"]), list(pixels["image_std"]), layer, tower)


def vision_files(weights: Path) -> list[Path]:
    """All files that the vision parts of a weights folder are made of."""
    own = [weights / FILE, weights / CONFIG]
    if not own[1].is_file():
        return own
    tower = json.loads(own[1].read_text(encoding="utf-8")).get("tower")
    return own if tower is None else [*own, *sorted(Path(checkpoint_source(tower)).glob("*.safetensors"))]


def tower_settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A CLIP checkpoint's vision config and its picture preprocessing."""
    from transformers import CLIPVisionConfig

    config = CLIPVisionConfig.from_pretrained(folder, local_files_only=True).to_dict()
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            pixels = json.loads((folder / name).read_text(encoding="utf-8"))
            return _plain(config), pixels.get("image_processor", pixels)
    raise FileNotFoundError(f"{folder} has no preprocessor_config.json")


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("dtype", "architectures", "_name_or_path")}
