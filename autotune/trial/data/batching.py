"""Lever ``padding``: how examples become batches of ``batch_size``.

Everything is indexed out of the flat arrays of a split, and a batch is put together in tens of
microseconds. The loader's threads (``loader_workers``) can still do it ahead of time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from autotune.domain import Strategy
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.data.split import Split
from autotune.trial.tasks.base import IGNORE_INDEX

Indices = np.ndarray
"""Numbers of examples of a split, ``int64[n]``."""

BUCKET_BATCHES = 100
"""Batches that are sorted by length together. More waste less padding and mix examples less."""

COMPILED_MULTIPLE = 16
"""Lengths are rounded up to it under torch.compile, for kernels that like whole tiles."""


@dataclass(frozen=True)
class Batch:
    """Arguments of the model; labels, ``[n]`` or ``[n, length]``; and how many of them count."""

    inputs: dict[str, Tensor]
    labels: Tensor
    num_labels: int


@dataclass(frozen=True)
class Collator:
    """Puts examples of ``split`` together into batches on ``device``.

    Rows are as long as the longest of the batch, rounded up to ``multiple``, or ``length`` where
    that is set. A batch without any padding comes without a mask, which lets attention take its
    fast path, unless ``always_mask`` (a compiled model wants the same arguments every time).
    """

    split: Split
    pad_token_id: int
    device: torch.device
    length: int | None = None
    multiple: int = 1
    always_mask: bool = False
    pinned: bool = True

    def __call__(self, rows: Indices) -> Batch:
        arrays = self.split.batch(rows, self.pad_token_id, self.length or self._rounded(rows))
        labels = arrays.pop("labels")
        if not self.always_mask and arrays["attention_mask"].all():
            del arrays["attention_mask"]
        inputs = {name: self._tensor(array) for name, array in arrays.items()}
        return Batch(inputs, self._tensor(labels), int((labels != IGNORE_INDEX).sum()))

    def padded_to(self, multiple: int) -> Collator:
        """This, with rows as long as a multiple of ``multiple``."""
        if multiple == 1:
            return self
        length = None if self.length is None else math.ceil(self.length / multiple) * multiple
        return replace(self, length=length, multiple=math.lcm(self.multiple, multiple))

    def count_labels(self, rows: Indices) -> int:
        """How many labels of the examples ``rows`` count."""
        labels, offsets = self.split.labels, self.split.offsets
        if not self.split.labels_by_token:
            return int((labels[rows] != IGNORE_INDEX).sum())
        return sum(int((labels[offsets[r] : offsets[r + 1]] != IGNORE_INDEX).sum()) for r in rows)

    def _rounded(self, rows: Indices) -> int | None:
        if self.multiple == 1:
            return None
        return math.ceil(int(self.split.lengths[rows].max()) / self.multiple) * self.multiple

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory() if self.pinned else tensor
            return tensor.to(self.device, non_blocking=self.pinned)
        return tensor.to(self.device)


def training_collator(
    strategy: Strategy, prepared: PreparedTask, split: Split, device: torch.device
) -> Collator:
    """How the ``padding`` lever wants training batches padded."""
    compiled = strategy["compile"] is True
    return Collator(
        split,
        prepared.pad_token_id,
        device,
        length=prepared.max_length if strategy["padding"] == "fixed" else None,
        multiple=COMPILED_MULTIPLE if compiled else 1,
        always_mask=compiled,
        pinned=strategy["pinned_memory"] is True,
    )


def batch_order(lengths: np.ndarray, batch_size: int, padding: str, seed: int) -> Iterator[Indices]:
    """Global batches for ever, epoch after epoch, each example once an epoch.

    The last batch of an epoch may be small, as in Trainer. With ``bucketed``, examples of like
    length share a batch and the batches are shuffled; the very first is the one with the longest
    example, so that a strategy that runs out of memory does so at once.
    """
    random = np.random.default_rng(seed)
    first = True
    while True:
        shuffled = random.permutation(len(lengths))
        if padding != "bucketed":
            yield from chunks(shuffled, batch_size)
            continue
        batches = list(_buckets(shuffled, lengths, batch_size))
        mixed = [batches[place] for place in random.permutation(len(batches))]
        if first:
            longest = max(range(len(mixed)), key=lambda place: lengths[mixed[place]].max())
            mixed.insert(0, mixed.pop(longest))
        first = False
        yield from mixed


def _buckets(shuffled: Indices, lengths: np.ndarray, batch_size: int) -> Iterator[Indices]:
    for bucket in chunks(shuffled, BUCKET_BATCHES * batch_size):
        yield from chunks(bucket[np.argsort(-lengths[bucket], kind="stable")], batch_size)


def chunks(indices: Indices, size: int) -> Iterator[Indices]:
    """``indices`` in pieces of ``size``, the last one as it comes."""
    return (indices[start : start + size] for start in range(0, len(indices), size))


def select_examples(split: Split, rows: Indices) -> Split:
    """The examples ``rows`` of ``split``, in that order, as a split of their own."""
    lengths = split.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.concatenate([np.arange(split.offsets[r], split.offsets[r + 1]) for r in rows])
    labels = split.labels[places if split.labels_by_token else rows]
    types = None if split.types is None else split.types[places]
    return Split(split.tokens[places], offsets, labels, types)
