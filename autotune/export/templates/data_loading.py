"""Levers ``batch_size``, ``micro_batch_size`` and ``padding``, as a PyTorch ``DataLoader``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autotune.export.templates.folder import ExportFolder
from autotune.trial.data.batching import Collator, batch_order
from autotune.trial.loss import Loss, output_logits
from autotune.trial.tasks.base import is_evaluated


class MicroBatches:
    """A batch sampler over global batches of ``batch_size``, each divided into micro-batches.

    ``sizes`` holds the sizes of the global batches so far, ``num_labels`` the number of labels of
    the last one. Trainers count micro-batches to detect the end of a batch. So where batches are
    divided, the one batch of an epoch that can be smaller comes last.
    """

    drop_last = False

    def __init__(
        self, folder: ExportFolder, collate: Collator, batch_size: int, micro_batch_size: int
    ) -> None:
        self.batch_size = micro_batch_size  # the name that DataLoader and trainers read
        self.sizes: list[int] = []
        self.num_labels = 0
        self._collate = collate
        self._global_batch_size, self._num_examples = batch_size, len(collate.split)
        padding = str(folder.strategy["padding"])
        self._batches = batch_order(collate.split.lengths, batch_size, padding, folder.seed)

    def __len__(self) -> int:
        full_batches, rest = divmod(self._num_examples, self._global_batch_size)
        per_batch = self._global_batch_size // self.batch_size
        return full_batches * per_batch + -(-rest // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(islice(self._batches, -(-self._num_examples // self._global_batch_size)))
        if self.batch_size < self._global_batch_size:
            batches.sort(key=lambda batch: len(batch) < self._global_batch_size)
        for batch in batches:
            self.sizes.append(len(batch))
            self.num_labels = self._collate.count_labels(batch)
            for start in range(0, len(batch), self.batch_size):
                yield batch[start : start + self.batch_size].tolist()


def make_loader(
    batches: MicroBatches, collate: Collator, with_num_labels: bool = False
) -> DataLoader[Any]:
    """Micro-batches as the model's arguments with ``labels``. With ``with_num_labels`` also the
    number of labels of the global batch, as ``num_labels``."""

    def collate_rows(rows: list[int]) -> dict[str, Tensor]:
        batch = collate(np.asarray(rows))
        extra = {"num_labels": torch.tensor(batches.num_labels)} if with_num_labels else {}
        return {**batch.inputs, "labels": batch.labels, **extra}

    dataset: Any = range(len(collate.split))
    # A separate generator, so that the loader does not change the random state of dropout.
    generator = torch.Generator()
    return DataLoader(dataset, batch_sampler=batches, collate_fn=collate_rows, generator=generator)


def trainer_loss(loss: Loss) -> Callable[[Any, Tensor, Tensor | None], Tensor]:
    """The contribution of a micro-batch to the batch's mean loss: a ``compute_loss_func`` of
    ``Trainer``."""

    def compute(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | None) -> Tensor:
        if num_items_in_batch is None:
            num_items_in_batch = torch.as_tensor(is_evaluated(labels).sum())
        return loss(output_logits(outputs), labels) / num_items_in_batch

    return compute
