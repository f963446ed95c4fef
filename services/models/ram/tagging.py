"""RAM's recognition decoder: label queries look at the picture, after Query2Label (arXiv 2107.10834).

BERT layers without self-attention, as in https://github.com/xinyu1205/recognize-anything, whose parameter names these
are: a query is a tag, and tags do not see each other, so any list of tags can be asked for.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from services.models.ram.config import RamConfig

_EPS = 1e-12


class TaggingHead(nn.Module):
    """Labels [batch or 1, tags, hidden] and picture cells [batch, cells, label_dim] to [batch, tags, hidden]."""

    def __init__(self, config: RamConfig) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(TaggingLayer(config) for _ in range(config.num_layers))
        self.apply(_initialise)

    def forward(self, labels: Tensor, cells: Tensor) -> Tensor:
        for layer in self.encoder.layer:
            labels = layer(labels, cells)
        return labels


class TaggingLayer(nn.Module):
    def __init__(self, config: RamConfig) -> None:
        super().__init__()
        self.crossattention = CrossAttention(config)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = Output(config.intermediate_size, config)

    def forward(self, labels: Tensor, cells: Tensor) -> Tensor:
        labels = self.crossattention(labels, cells)
        return self.output(functional.gelu(self.intermediate.dense(labels)), labels)


class CrossAttention(nn.Module):
    def __init__(self, config: RamConfig) -> None:
        super().__init__()
        self.num_heads, self.dropout = config.num_heads, config.dropout
        self.self = nn.Module()
        self.self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.self.key = nn.Linear(config.label_dim, config.hidden_size)
        self.self.value = nn.Linear(config.label_dim, config.hidden_size)
        self.output = Output(config.hidden_size, config)

    def forward(self, labels: Tensor, cells: Tensor) -> Tensor:
        # In RAM the first layer's labels are the same for every picture: their query is computed once.
        query = self._heads(self.self.query(labels)).expand(len(cells), -1, -1, -1)
        key, value = self._heads(self.self.key(cells)), self._heads(self.self.value(cells))
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.output(seen.transpose(1, 2).flatten(2), labels)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class Output(nn.Module):
    """Projection, residual, norm."""

    def __init__(self, dim: int, config: RamConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        # BERT's 0.02 is for widths like 768: a narrow head would take long to leave its start.
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
