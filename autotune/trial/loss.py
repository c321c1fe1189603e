"""The training loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autotune.trial.tasks.base import IGNORE_INDEX


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in fp32, summed over the labels that are not :data:`IGNORE_INDEX`.

    Divided by the number of labels of the whole batch, it makes accumulated gradients equal to
    those of the batch, whatever the micro-batches.
    """
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(
        flat, labels.flatten(), ignore_index=IGNORE_INDEX, reduction="sum"
    )
