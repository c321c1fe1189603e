"""Embeddings whose gradient is added up by the row.

torch makes a gradient as large as the whole table for every backward pass, and of a table of 30,000
rows a piece of a batch looks up a few hundred. A first stage has a backward pass for each piece.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class InPlaceGradEmbedding(nn.Embedding):
    """As ``table``, whose weight it shares."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__(
            table.num_embeddings, table.embedding_dim, table.padding_idx, device="meta"
        )
        self.weight = table.weight

    def forward(self, input: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(input)
        found: Tensor = _LookUp.apply(self.weight, input, self.padding_idx)
        return found


def by_row(module: nn.Module) -> None:
    """Put :class:`Rows` in place of every embedding below ``module``."""
    for holder in list(module.modules()):
        for name, child in holder.named_children():
            if isinstance(child, nn.Embedding):
                setattr(holder, name, InPlaceGradEmbedding(child))


class _LookUp(torch.autograd.Function):
    """Adds to the gradient of its table itself, and tells autograd that there is none."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, padding: int | None) -> Tensor:
        ctx.table, ctx.padding = table, padding
        ctx.save_for_backward(ids)
        return functional.embedding(ids, table)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        if ctx.padding is not None:  # its row is never trained
            gradient = gradient.masked_fill((ids == ctx.padding).unsqueeze(-1), 0.0)
        if ctx.table.grad is None:
            ctx.table.grad = torch.zeros_like(ctx.table)
        ctx.table.grad.index_add_(0, ids.flatten(), gradient.flatten(0, -2))
        return None, None, None
