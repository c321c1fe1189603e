"""Levers of how examples become batches."""

from __future__ import annotations

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.levers.base import ACCURACY, MEMORY, SPEED, Lever, influences

MAX_BATCH = 65_536


def _batch_sizes(host: Host) -> Categorical:
    return Categorical((8, 16, 32, 64))


def _micro_batch_sizes(host: Host) -> Categorical:
    return Categorical(("full", 4, 8, 16))


BATCH_SIZE = Lever(
    name="batch_size",
    summary="Examples per optimizer step, over all devices",
    domain=Range(1, MAX_BATCH, integer=True),
    default=8,
    influences=influences(SPEED, MEMORY, ACCURACY),
    auto=_batch_sizes,
)

MICRO_BATCH_SIZE = Lever(
    name="micro_batch_size",
    summary="Examples per forward and backward; the rest of the batch by gradient accumulation",
    domain=Range(1, MAX_BATCH, integer=True),
    named_values=("full",),
    default="full",
    influences=influences(SPEED, MEMORY),
    auto=_micro_batch_sizes,
)

PADDING = Lever(
    name="padding",
    summary="Pad to max_length, to the longest of the batch, or batch examples of like length",
    domain=Categorical(("fixed", "dynamic", "bucketed")),
    default="dynamic",
    influences=influences(SPEED, MEMORY, ACCURACY),
)


def _too_many_workers(host: Host, value: Value) -> str | None:
    if isinstance(value, str) or value < max(2, len(host.cores)):
        return None
    return f"{value} loader threads beside training on {len(host.cores)} cores"


def _not_cuda(host: Host, value: Value) -> str | None:
    if value is False or any(device.kind == "cuda" for device in host.devices):
        return None
    return "only copies to a CUDA GPU gain by pinned memory"


LOADER_WORKERS = Lever(
    name="loader_workers",
    summary="Threads that put batches together ahead of training; with 0, training does it",
    domain=Range(0, 64, integer=True),
    default=0,
    influences=influences(SPEED),
    unavailable=_too_many_workers,
    auto=lambda host: Categorical((0, 1, 2)),
)

PREFETCH = Lever(
    name="prefetch",
    summary="Batches that each loader thread is ahead by",
    domain=Range(1, 64, integer=True),
    default=2,
    influences=influences(SPEED, MEMORY),
    when="loader_workers > 0",
    auto=lambda host: Categorical((1, 2, 4)),
)

PINNED_MEMORY = Lever(
    name="pinned_memory",
    summary="Copy batches to the GPU from memory that cannot be paged out, while it still works",
    domain=Categorical((False, True)),
    default=lambda host: any(device.kind == "cuda" for device in host.devices),
    influences=influences(SPEED),
    when="device == cuda",
    unavailable=_not_cuda,
)

RULES: tuple[ForbiddenClause, ...] = (
    ForbiddenClause("loader_workers > 0 and parallelism != none",
         "each rank puts its own share of a batch together"),
    ForbiddenClause("loader_workers > 0 and offload == parameters",
         "fsdp, which brings the weights in, has each rank put its batches together"),
)  # fmt: skip
