"""Levers of how examples become batches."""

from __future__ import annotations

from autotune.domain import Choice, Host, Range
from autotune.levers.base import ACCURACY, MEMORY, SPEED, Lever, influences

MAX_BATCH = 65_536


def _batch_sizes(host: Host) -> Choice:
    return Choice((8, 16, 32, 64))


def _micro_batch_sizes(host: Host) -> Choice:
    return Choice(("full", 4, 8, 16))


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
    words=("full",),
    default="full",
    influences=influences(SPEED, MEMORY),
    auto=_micro_batch_sizes,
)

PADDING = Lever(
    name="padding",
    summary="Pad to max_length, to the longest of the batch, or batch examples of like length",
    domain=Choice(("fixed", "dynamic", "bucketed")),
    default="dynamic",
    influences=influences(SPEED, MEMORY, ACCURACY),
)
