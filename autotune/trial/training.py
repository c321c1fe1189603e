"""The training loop. It yields a window of timed steps at a time and stands still in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from autotune.measure.energy import EnergyMeter
from autotune.measure.timing import Window, now
from autotune.trial import optimizers
from autotune.trial.apply import Ready
from autotune.trial.batching import Batch
from autotune.trial.schedule import Schedule, linear_decay
from autotune.trial.tasks.base import IGNORED

WARMUP_STEPS = 5
"""The first steps fill caches, pools and compilers; they are timed in a window of their own."""

WINDOW_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """Where training stands at the end of ``window``: optimizer steps and examples done so far,
    and the mean loss of the window's steps."""

    step: int
    examples: int
    loss: float
    window: Window


def train(ready: Ready, schedule: Schedule, meter: EnergyMeter) -> Iterator[Progress]:
    """Train for all steps of ``schedule``.

    A window ends after :data:`WINDOW_SECONDS`, at a rung, after the warm-up and at the end. What
    the caller does between two windows is in no window and on no meter. Losses stay on the device
    until then, so that no step waits for it.
    """
    batches = schedule.batches()
    warmup = min(WARMUP_STEPS, schedule.steps // 4)
    ends = {*schedule.rungs, warmup, schedule.steps}
    done = examples = 0
    while done < schedule.steps:
        ready.model.train()
        losses, before = [], examples
        with meter.running():
            begun = now(ready.device)
            while True:
                batch = next(batches)
                parts = [schedule.collate(rows) for rows in schedule.parts(batch)]
                losses.append(
                    step(ready, parts, linear_decay(ready.peak_rate, done, schedule.steps))
                )
                done, examples = done + 1, examples + len(batch)
                if done in ends or time.perf_counter() - begun >= WINDOW_SECONDS:
                    break
            seconds = now(ready.device) - begun
        window = Window(examples - before, seconds, warmup=done <= warmup)
        yield Progress(done, examples, float(torch.stack(losses).mean()), window)


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
