"""Unstructured pruning: single weights are kept at zero while the others are trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Masks:
    """Masks of pruned weights for a list of Linear layers.

    They refer to layers rather than parameters, so the model can be cast or moved later. After
    sharding the weights, call :meth:`shard_like_weights`.
    """

    def __init__(self, linears: Sequence[nn.Linear], pruned: Sequence[Tensor]) -> None:
        self._linears = tuple(linears)
        self._pruned = list(pruned)

    @property
    def tensors(self) -> Sequence[Tensor]:
        """The mask of each layer, true where a weight is pruned."""
        return self._pruned

    @torch.no_grad()
    def apply(self) -> None:
        """Set the pruned weights to zero."""
        for index, linear in enumerate(self._linears):
            self._pruned[index] = self._pruned[index].to(linear.weight.device)
            linear.weight.masked_fill_(self._pruned[index], 0.0)

    def shard_like_weights(self) -> None:
        """Shard the masks over ranks as their weights are sharded."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        for index, linear in enumerate(self._linears):
            weight = linear.weight
            if isinstance(weight, DTensor):
                mesh, placements = weight.device_mesh, weight.placements
                self._pruned[index] = distribute_tensor(self._pruned[index], mesh, placements)

    def restrict_to(self, model: nn.Module) -> None:
        """Drop the masks of weights that ``model``, a part of the original one, does not have."""
        local_weights = {id(weight) for weight in model.parameters()}
        pairs = zip(self._linears, self._pruned, strict=True)
        remaining = [(linear, mask) for linear, mask in pairs if id(linear.weight) in local_weights]
        self._linears = tuple(linear for linear, _ in remaining)
        self._pruned = [mask for _, mask in remaining]

    def reapply_after_step(self, optimizer: Optimizer) -> None:
        """Apply after every step of ``optimizer``, whose momentum changes pruned weights."""
        optimizer.register_step_post_hook(lambda *_: self.apply())


def magnitude_masks(linears: Sequence[nn.Linear], ratio: float) -> Masks:
    """Prune the fraction ``ratio`` of the weights of all ``linears`` with the smallest magnitude.

    The number is exact: among equal weights, frequent in low precision, the first ones are pruned.
    """
    size = torch.cat([linear.weight.detach().flatten().abs() for linear in linears])
    pruned = torch.zeros_like(size, dtype=torch.bool)
    count = round(len(size) * ratio)
    if count:
        threshold = size.kthvalue(count).values
        pruned = size < threshold
        equal = (size == threshold).nonzero().flatten()
        pruned[equal[: count - int(pruned.sum())]] = True
    shapes = [linear.weight.shape for linear in linears]
    pieces = pruned.split([shape.numel() for shape in shapes])
    return Masks(linears, [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)])
