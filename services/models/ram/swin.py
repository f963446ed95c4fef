"""Swin Transformer (arXiv 2103.14030), the trunk of RAM.

Parameters carry the names of https://github.com/microsoft/Swin-Transformer, whose code RAM uses. Maps are
[batch, height, width, channels] between blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.models.ram.config import SwinConfig

# Added to attention scores between cells that are neighbours only because the map was rolled.
_APART = -100.0


class SwinTransformer(nn.Module):
    """Pixels [batch, 3, side, side] to cells [batch, cells, channels] of the last stage, row by row, normalised."""

    def __init__(self, config: SwinConfig, image_size: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.patch_size, config.embed_dim)
        rates = torch.linspace(0, config.drop_path_rate, sum(config.depths), device="cpu").tolist()
        last = len(config.depths) - 1
        self.layers = nn.ModuleList()
        for stage, (side, depth) in enumerate(zip(config.resolutions(image_size), config.depths, strict=True)):
            self.layers.append(
                Stage(config, stage, side, [rates.pop(0) for _ in range(depth)], downsample=stage < last)
            )
        self.norm = nn.LayerNorm(config.out_dim)
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(self.maps(pixels)[-1]).flatten(1, 2)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """The map of every stage, [batch, height, width, channels], before the last norm and any downsampling."""
        x = self.patch_embed(pixels)
        found = []
        for stage in self.layers:
            for block in stage.blocks:
                x = block(x)
            found.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        return found


class PatchEmbed(nn.Module):
    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(self.proj(pixels).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks on one map, every second one with its windows shifted by half a window."""

    def __init__(self, config: SwinConfig, index: int, side: int, drop_paths: list[float], *, downsample: bool) -> None:
        super().__init__()
        dim = config.embed_dim * 2**index
        window = min(config.window_size, side)
        shift = window // 2 if side > window else 0
        self.blocks = nn.ModuleList(
            Block(dim, config.num_heads[index], side, window, shift if number % 2 else 0, config.mlp_ratio, drop_path)
            for number, drop_path in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(dim) if downsample else None


class Block(nn.Module):
    def __init__(
        self, dim: int, num_heads: int, side: int, window: int, shift: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, side, window, shift)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._kept(self.attn(self.norm1(x)))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _kept(self, x: Tensor) -> Tensor:
        """Stochastic depth (arXiv 1603.09382): in training, part of the samples go past the branch."""
        if not self.training or self.drop_path == 0.0:
            return x
        keep = 1.0 - self.drop_path
        return x * (x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep) / keep)


class WindowAttention(nn.Module):
    """Self-attention inside windows, all windows of the batch at once.

    A learnt bias depends on where two cells lie to each other. With `shift`, the map is rolled first, and cells that
    come from opposite edges do not see each other.
    """

    relative_position_index: Tensor
    attn_mask: Tensor | None

    def __init__(self, dim: int, num_heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.num_heads, self.window, self.shift = num_heads, window, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        self.register_buffer("attn_mask", shift_mask(side, window, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, _, dim = x.shape
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        windows = split(x, self.window)
        count, cells = windows.shape[1:3]
        qkv = self.qkv(windows).view(batch, count, cells, 3, self.num_heads, dim // self.num_heads)
        # A window's head is one more head: fused kernels take four axes.
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3)
        seen = attend(query, key, value, self._bias(count).to(query.dtype))
        seen = seen.unflatten(1, (count, self.num_heads)).transpose(2, 3).flatten(3)
        x = join(self.proj(seen), height)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x

    def _bias(self, count: int) -> Tensor:
        """[1, windows * heads, cells, cells], added to the attention scores."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1).unsqueeze(0)
        bias = bias.expand(count, -1, -1, -1) if self.attn_mask is None else bias + self.attn_mask.unsqueeze(1)
        return bias.flatten(0, 1).unsqueeze(0)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention [batch, heads, cells, dim] with an additive bias [1, heads, cells, cells]."""
    if bias.requires_grad:
        # Fused kernels give a bias no gradient on a CPU, and this is faster than what torch does instead.
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
        return scores.softmax(-1) @ value
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class PatchMerging(nn.Module):
    """Four neighbouring cells become one of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        # The four cells in the order top left, bottom left, top right, bottom right.
        cells = x.view(batch, height // 2, 2, width // 2, 2, dim).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(cells))


def split(x: Tensor, window: int) -> Tensor:
    """[batch, height, width, dim] to [batch, windows, cells, dim], windows and their cells row by row."""
    batch, height, width, dim = x.shape
    x = x.view(batch, height // window, window, width // window, window, dim)
    return x.transpose(2, 3).reshape(batch, -1, window * window, dim)


def join(windows: Tensor, height: int) -> Tensor:
    """What `split` took apart."""
    batch, count, cells, dim = windows.shape
    window = int(cells**0.5)
    rows = height // window
    x = windows.view(batch, rows, count // rows, window, window, dim)
    return x.transpose(2, 3).reshape(batch, height, -1, dim)


# Both tables are made on the CPU even while a model is built on the meta device: no checkpoint fills them in.


def relative_position_index(window: int) -> Tensor:
    """[cells, cells]: row of the bias table for each pair of cells of a window."""
    axis = torch.arange(window, device="cpu")
    cells = torch.cartesian_prod(axis, axis) if window > 1 else axis.new_zeros(1, 2)
    apart = cells[:, None] - cells[None] + window - 1
    return apart[..., 0] * (2 * window - 1) + apart[..., 1]


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """[windows, cells, cells]: 0 where two cells of a window are neighbours in the map, else `_APART`."""
    strip = torch.zeros(side, dtype=torch.long, device="cpu")
    strip[-window:], strip[-shift:] = 1, 2
    region = split((strip[:, None] * 3 + strip[None])[None, :, :, None], window)[0, :, :, 0]
    return (region[:, :, None] != region[:, None, :]).float() * _APART


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
