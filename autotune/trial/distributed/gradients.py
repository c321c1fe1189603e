"""Gradients that are partial or sharded: summed and clipped over ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.distributed.tensor import DTensor

from autotune.domain.host import MIB


def local_tensor(tensor: Tensor) -> Tensor:
    """This rank's shard of ``tensor``."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def reduce_partial_gradients(parameters: Iterable[Tensor]) -> None:
    """Sum the gradients of replicated weights to which each rank has contributed a part."""
    for parameter in parameters:
        gradient = parameter.grad
        if isinstance(gradient, DTensor) and any(p.is_partial() for p in gradient.placements):
            assert isinstance(parameter, DTensor)
            parameter.grad = gradient.redistribute(placements=parameter.placements)


def all_reduce_gradients(
    parameters: Iterable[Tensor],
    group: dist.ProcessGroup,
    bucket_mib: int,
    comm_device: torch.device,
) -> None:
    """Sum gradients over ``group`` through ``comm_device``, in buckets of ``bucket_mib``."""
    local_gradients = [local_tensor(p.grad) for p in parameters if p.grad is not None]
    for bucket in _buckets(local_gradients, bucket_mib * MIB):
        flat = _flatten_dense_tensors(bucket).to(comm_device)
        dist.all_reduce(flat, group=group)
        torch._foreach_copy_(bucket, list(_unflatten_dense_tensors(flat, bucket)))


def _buckets(tensors: Sequence[Tensor], max_bytes: int) -> Iterator[list[Tensor]]:
    """Consecutive tensors of one dtype, up to ``max_bytes`` together."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        is_full = sum(t.nbytes for t in bucket) + tensor.nbytes > max_bytes
        if bucket and (is_full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@torch.no_grad()
def clip_sharded_gradients(
    parameters: Sequence[Tensor], max_norm: float, stage_group: dist.ProcessGroup | None
) -> None:
    """Clip gradients that are sharded over ranks to ``max_norm``. The ranks of ``stage_group`` hold
    different weights, the stages of a pipeline."""
    squares: dict[tuple[dist.ProcessGroup, ...], Tensor] = {}
    gradients = [p.grad for p in parameters if p.grad is not None]
    for gradient in gradients:
        groups = _shard_groups(gradient)
        # A norm needs no second copy of the gradient; squaring it would.
        square = torch.linalg.vector_norm(local_tensor(gradient), dtype=torch.float32) ** 2
        squares[groups] = squares[groups] + square if groups in squares else square
    for groups, square in squares.items():
        for group in groups:
            dist.all_reduce(square, group=group)
    total = torch.stack(list(squares.values())).sum()
    if stage_group is not None:
        dist.all_reduce(total, group=stage_group)
    factor = (max_norm / (total.sqrt() + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local_tensor(gradient) for gradient in gradients], factor)


def _shard_groups(gradient: Tensor) -> tuple[dist.ProcessGroup, ...]:
    """The groups over which a gradient is sharded."""
    if not isinstance(gradient, DTensor):
        return ()
    return tuple(
        gradient.device_mesh.get_group(dimension)
        for dimension, placement in enumerate(gradient.placements)
        if not placement.is_replicate()
    )
