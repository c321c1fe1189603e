"""Unstructured pruning: single weights held at zero while the others are trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Masks:
    """Which weights are held at zero, for a list of Linear layers.

    The layers are remembered, not their parameters, so a later cast or move of the model is
    harmless. A layer whose weight changes its shape afterwards (a shard of it, say) is not.
    """

    def __init__(self, linears: Sequence[nn.Linear], dropped: Sequence[Tensor]) -> None:
        self._linears = tuple(linears)
        self._dropped = list(dropped)

    @torch.no_grad()
    def apply(self) -> None:
        """Set the dropped weights to zero."""
        for index, linear in enumerate(self._linears):
            self._dropped[index] = self._dropped[index].to(linear.weight.device)
            linear.weight.masked_fill_(self._dropped[index], 0.0)

    def shard_like_weights(self) -> None:
        """Cut the masks as their weights have been cut over ranks since."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        for index, linear in enumerate(self._linears):
            weight = linear.weight
            if isinstance(weight, DTensor):
                mesh, placements = weight.device_mesh, weight.placements
                self._dropped[index] = distribute_tensor(self._dropped[index], mesh, placements)

    def restrict_to(self, model: nn.Module) -> None:
        """Let go of the masks of weights that ``model``, a part of the whole, does not have."""
        held = {id(weight) for weight in model.parameters()}
        pairs = zip(self._linears, self._dropped, strict=True)
        kept = [(linear, mask) for linear, mask in pairs if id(linear.weight) in held]
        self._linears = tuple(linear for linear, _ in kept)
        self._dropped = [mask for _, mask in kept]

    def reapply_after_step(self, optimizer: Optimizer) -> None:
        """Apply after every step of ``optimizer``, whose momentum would revive dropped weights."""
        optimizer.register_step_post_hook(lambda *_: self.apply())

    @property
    def sparsity(self) -> float:
        """Share of the weights of these layers that is dropped."""
        total = sum(dropped.numel() for dropped in self._dropped)
        return sum(int(dropped.sum()) for dropped in self._dropped) / total


def magnitude_masks(linears: Sequence[nn.Linear], ratio: float) -> Masks:
    """Drop the smallest ``ratio`` of the weights, by absolute value over all ``linears`` together.

    The share is met to the weight: among equal ones, which low precision has many of, those that
    come first go first.
    """
    size = torch.cat([linear.weight.detach().flatten().abs() for linear in linears])
    dropped = torch.zeros_like(size, dtype=torch.bool)
    count = round(len(size) * ratio)
    if count:
        threshold = size.kthvalue(count).values
        dropped = size < threshold
        equal = (size == threshold).nonzero().flatten()
        dropped[equal[: count - int(dropped.sum())]] = True
    shapes = [linear.weight.shape for linear in linears]
    pieces = dropped.split([shape.numel() for shape in shapes])
    return Masks(linears, [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)])
