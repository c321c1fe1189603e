"""Gradients that several ranks have parts of: added up, measured and shortened together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.distributed.tensor import DTensor

from autotune.trial.effects.optimizers import MAX_GRADIENT_NORM

MIB = 2**20


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of ``tensor``."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def reduce_partial_gradients(parameters: Iterable[Tensor]) -> None:
    """Add up gradients of weights that ranks hold alike and have each seen a part of."""
    for parameter in parameters:
        gradient = parameter.grad
        if isinstance(gradient, DTensor) and any(p.is_partial() for p in gradient.placements):
            assert isinstance(parameter, DTensor)
            parameter.grad = gradient.redistribute(placements=parameter.placements)


def all_reduce_gradients(
    parameters: Iterable[Tensor], ranks: dist.ProcessGroup, bucket_mib: int, table: torch.device
) -> None:
    """Sum gradients over ``ranks`` by way of the device ``table``, in buckets of ``bucket_mib``."""
    held = [local(p.grad) for p in parameters if p.grad is not None]
    for bucket in _buckets(held, bucket_mib * MIB):
        flat = _flatten_dense_tensors(bucket).to(table)
        dist.all_reduce(flat, group=ranks)
        parts = _unflatten_dense_tensors(flat, bucket)
        torch._foreach_copy_(bucket, list(parts))


def _buckets(tensors: Sequence[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Neighbours of one type, together up to ``size`` bytes."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(t.nbytes for t in bucket) + tensor.nbytes > size
        if bucket and (full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@torch.no_grad()
def clip(parameters: Sequence[Tensor], stages: dist.ProcessGroup | None) -> None:
    """Shorten gradients that are spread over ranks; ``stages`` are ranks that hold other weights
    altogether."""
    squares: dict[tuple[dist.ProcessGroup, ...], Tensor] = {}
    gradients = [p.grad for p in parameters if p.grad is not None]
    for gradient in gradients:
        spread = _spread_over(gradient)
        # A norm needs no second copy of the gradient, which squares would.
        square = torch.linalg.vector_norm(local(gradient), dtype=torch.float32) ** 2
        squares[spread] = squares[spread] + square if spread in squares else square
    for spread, square in squares.items():
        for ranks in spread:
            dist.all_reduce(square, group=ranks)
    total = torch.stack(list(squares.values())).sum()
    if stages is not None:
        dist.all_reduce(total, group=stages)
    shrink = (MAX_GRADIENT_NORM / (total.sqrt() + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local(gradient) for gradient in gradients], shrink)


def _spread_over(gradient: Tensor) -> tuple[dist.ProcessGroup, ...]:
    """The groups over which a gradient is cut into pieces."""
    if not isinstance(gradient, DTensor):
        return ()
    return tuple(
        gradient.device_mesh.get_group(dimension)
        for dimension, placement in enumerate(gradient.placements)
        if not placement.is_replicate()
    )
