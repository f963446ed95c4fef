"""Files of https://github.com/xinyu1205/recognize-anything: `ram_swin_large_14m.pth`, `ram_plus_swin_large_14m.pth`.

A file is what its training saved: `{"model": state dict, "optimizer": ..., "config": ..., "epoch": ...}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from services.core.errors import SkillFailed
from services.models.original_files import counted, read_state, require
from services.models.ram.config import RAM_PLUS_SWIN_LARGE, RAM_SWIN_LARGE, RamConfig, SwinConfig
from services.models.ram.model import Ram

# What a file holds besides the tagger. Nothing else may be left over.
_UNUSED = re.compile(
    r"^(tag_encoder|text_decoder)\."  # captioning, which RAM trains together with tagging
    r"|^tagging_head\.(embeddings|encoder\.layer\.\d+\.attention)\."  # of the BERT that the head was cut out of
    r"|\.(relative_position_index|attn_mask)$"  # tables that follow from the sizes
)
_NAME = "RAM or RAM++"
_BIAS_TABLE = ".relative_position_bias_table"


def load_original(path: Path, image_size: int = RAM_SWIN_LARGE.image_size) -> Ram:
    """The tagger in a file, RAM or RAM++ as the file is, weights left on the disk until they are used.

    Args:
        image_size: side of the pictures, pixels. The published weights are for 384; for others the window is a 32nd of
            the side, as in the original's configurations, and position biases are interpolated.

    Raises:
        SkillFailed: the file is something else; the message names parameters that are missing or too many.
    """
    state = tagger_state(read_state(str(path)))
    config = config_of(state, image_size)
    with torch.device("meta"):
        model = Ram(config)
    wanted = model.state_dict()
    missing, unknown = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or unknown:
        raise SkillFailed(
            f"{path.name} is no checkpoint of {_NAME}: missing {_some(missing)}; unknown {_some(unknown)}."
        )
    for name, table in state.items():
        if name.endswith(_BIAS_TABLE):
            state[name] = interpolated(table, wanted[name].shape[0])
    model.load_state_dict(state, assign=True)
    return model


def tagger_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tagger's part of a file's state dict."""
    # Early files call the head by its first name.
    renamed = {name.replace("vision_multi", "tagging_head"): value for name, value in state.items()}
    return {name: value for name, value in renamed.items() if not _UNUSED.search(name)}


def config_of(state: Mapping[str, Tensor], image_size: int) -> RamConfig:
    """Sizes as the parameters' shapes say.

    Raises:
        SkillFailed: a parameter that every RAM has is not there.
    """
    embed_dim, _, patch_size, _ = _shape(state, "visual_encoder.patch_embed.proj.weight")
    mlp, _ = _shape(state, "visual_encoder.layers.0.blocks.0.mlp.fc1.weight")
    labels, label_dim = _shape(state, "label_embed")
    intermediate, hidden = _shape(state, "tagging_head.encoder.layer.0.intermediate.dense.weight")
    descriptions = RAM_PLUS_SWIN_LARGE.descriptions_per_tag if "reweight_scale" in state else 1
    stages = [f"visual_encoder.layers.{stage}.blocks." for stage in range(counted(state, "visual_encoder.layers."))]
    return RamConfig(
        image_size=image_size,
        swin=SwinConfig(
            patch_size=patch_size,
            embed_dim=embed_dim,
            depths=tuple(counted(state, stage) for stage in stages),
            num_heads=tuple(_shape(state, f"{stage}0.attn{_BIAS_TABLE}")[1] for stage in stages),
            window_size=image_size // (patch_size << (len(stages) - 1)),
            mlp_ratio=mlp / embed_dim,
        ),
        num_tags=labels // descriptions,
        descriptions_per_tag=descriptions,
        label_dim=label_dim,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_layers=counted(state, "tagging_head.encoder.layer."),
        num_heads=RAM_SWIN_LARGE.num_heads,
    )


def interpolated(table: Tensor, rows: int) -> Tensor:
    """A table of relative position biases [rows, heads] for another window.

    As in the original (after BEiT, arXiv 2106.08254): bicubic, from sample positions that lie the farther apart the
    farther out they are, so that the far ends of both windows meet and near neighbours keep their distances.
    """
    source, target = round(table.shape[0] ** 0.5), round(rows**0.5)
    if source == target:
        return table
    from scipy.interpolate import RectBivariateSpline

    at = _positions(source // 2, target // 2)
    to = list(range(-(target // 2), target // 2 + 1))
    columns = [
        RectBivariateSpline(at, at, column.view(source, source).float().numpy(), kx=3, ky=3)(to, to).ravel()
        for column in table.unbind(1)
    ]
    return torch.stack([torch.from_numpy(column) for column in columns], dim=1).to(table.dtype)


def _positions(steps: int, reach: float) -> list[float]:
    """`2 * steps + 1` symmetric positions whose gaps grow geometrically and add up to `reach` on either side."""
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**steps) / (1 - ratio) > reach:
            high = ratio
        else:
            low = ratio
    half = [0.0]
    for step in range(steps):
        half.append(half[-1] + ratio**step)
    return [-position for position in reversed(half[1:])] + half


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    return tuple(require(state, name, _NAME).shape)


def _some(names: set[str]) -> str:
    if not names:
        return "nothing"
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
