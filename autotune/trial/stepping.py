"""One optimizer step of one process."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autotune.trial import optimizers
from autotune.trial.batching import Batch
from autotune.trial.crew import Ready
from autotune.trial.tasks.base import IGNORED


def step(ready: Ready, parts: list[Batch], rate: float) -> Tensor:
    """One optimizer step over the micro-batches ``parts``; returns the mean loss of the batch.

    Each micro-batch's loss is divided by the labels of the whole batch, so that accumulated
    gradients are those of the whole batch, however it is cut.
    """
    judged = sum(batch.judged for batch in parts)
    total = torch.zeros((), device=ready.device)
    for batch in parts:
        with ready.precision.autocast():
            logits = ready.run(**batch.inputs).logits
        loss = summed_loss(logits, batch.labels) / judged
        scaler = ready.precision.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()
        total += loss.detach()
    optimizers.update(ready.optimizer, ready.precision, rate)
    if ready.masks is not None:
        ready.masks.apply()
    return total


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in fp32, summed over all labels that count."""
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, reduction="sum")
