"""Levers ``batch_size``, ``micro_batch_size`` and ``padding``, as a data loader feeds them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from autotune.export.templates.folder import Folder
from autotune.trial.data.batching import Collator, Indices, batch_order
from autotune.trial.data.split import Split
from autotune.trial.tasks.base import IGNORED


class MicroBatches:
    """A batch sampler: global batches of ``batch_size`` in the strategy's order, each cut into
    micro-batches of ``micro_batch_size``. ``sizes`` are those of the global batches given so far,
    ``judged`` counts the labels of the last.

    Trainers count micro-batches to know when a batch is whole, so the one batch of an epoch that
    may be short comes last where batches are cut.
    """

    drop_last = False

    def __init__(self, folder: Folder, collate: Collator, batch_size: int, micro_batch_size: int):
        self.batch_size = micro_batch_size
        self.sizes: list[int] = []
        self.judged = 0
        self._split = collate.split
        self._whole, self._examples = batch_size, len(collate.split)
        padding = str(folder.strategy["padding"])
        self._batches = batch_order(collate.split.lengths, batch_size, padding, folder.seed)

    def __len__(self) -> int:
        whole, rest = divmod(self._examples, self._whole)
        return whole * (self._whole // self.batch_size) + -(-rest // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(islice(self._batches, -(-self._examples // self._whole)))
        if self.batch_size < self._whole:
            batches.sort(key=lambda batch: len(batch) < self._whole)
        for batch in batches:
            self.sizes.append(len(batch))
            self.judged = labels_of(self._split, batch)
            for start in range(0, len(batch), self.batch_size):
                yield batch[start : start + self.batch_size].tolist()


def loader(batches: MicroBatches, collate: Collator, judged: bool = False) -> DataLoader[Any]:
    """Micro-batches as the model's arguments, ``labels`` among them; with ``judged``, also how many
    labels the global batch has that they are part of."""

    def collated(rows: list[int]) -> dict[str, Tensor]:
        batch = collate(np.asarray(rows))
        also = {"judged": torch.tensor(batches.judged)} if judged else {}
        return {**batch.inputs, "labels": batch.labels, **also}

    rows: Any = range(len(collate.split))
    # A generator of its own: dropout is to be drawn from torch's as if there were no loader.
    own = torch.Generator()
    return DataLoader(rows, batch_sampler=batches, collate_fn=collated, generator=own)


def labels_of(split: Split, rows: Indices) -> int:
    """How many labels of ``rows`` count."""
    if not split.labels_by_token:
        return len(rows)
    spans = [split.labels[split.offsets[row] : split.offsets[row + 1]] for row in rows]
    return int((np.concatenate(spans) != IGNORED).sum())


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in fp32, summed over all labels that count. Divided by the labels of a whole
    batch, it makes accumulated gradients those of the batch, however it is cut."""
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, reduction="sum")


def share_of_batch(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | None) -> Tensor:
    """The loss of a micro-batch as its share of the batch's mean, as ``Trainer`` asks for it."""
    if num_items_in_batch is None:
        num_items_in_batch = torch.as_tensor(labels.ne(IGNORED).sum())
    return summed_loss(outputs.logits, labels) / num_items_in_batch
