"""Embeddings that accumulate their gradient row by row.

For every backward pass torch allocates a gradient as large as the table, while a micro-batch looks
up a few hundred of its 30,000 rows. The first stage of a pipeline has a backward pass for every
micro-batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class InPlaceGradEmbedding(nn.Embedding):
    """A replacement for ``table`` that shares its weight."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__(
            table.num_embeddings, table.embedding_dim, table.padding_idx, device="meta"
        )
        self.weight = table.weight

    def forward(self, input: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(input)
        hidden: Tensor = _InPlaceLookup.apply(self.weight, input, self.padding_idx)
        return hidden


def replace_embeddings(module: nn.Module) -> None:
    """Replace every embedding below ``module`` by an :class:`InPlaceGradEmbedding`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Embedding):
                setattr(parent, name, InPlaceGradEmbedding(child))


class _InPlaceLookup(torch.autograd.Function):
    """Adds to its table's gradient itself, and returns no gradient to autograd."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, padding: int | None) -> Tensor:
        ctx.table, ctx.padding = table, padding
        ctx.save_for_backward(ids)
        return functional.embedding(ids, table)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        if ctx.padding is not None:  # the padding row is not trained
            gradient = gradient.masked_fill((ids == ctx.padding).unsqueeze(-1), 0.0)
        if ctx.table.grad is None:
            ctx.table.grad = torch.zeros_like(ctx.table)
        ctx.table.grad.index_add_(0, ids.flatten(), gradient.flatten(0, -2))
        return None, None, None
