"""The training loop. It yields a window of timed steps at a time and stands still in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from autotune.measure.energy import EnergyMeter
from autotune.measure.timing import Window, now
from autotune.trial.batching import Indices
from autotune.trial.crew import Ready
from autotune.trial.schedule import Schedule, linear_decay
from autotune.trial.stepping import step, summed_loss

__all__ = ["Progress", "Ready", "step", "summed_loss", "train"]

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
                rate = linear_decay(ready.peak_rate, done, schedule.steps)
                losses.append(_step(ready, schedule, batch, rate))
                done, examples = done + 1, examples + len(batch)
                taken = time.perf_counter() - begun
                if ready.crew.enough(len(losses), taken, WINDOW_SECONDS) or done in ends:
                    break
            seconds = now(ready.device) - begun
        window = Window(examples - before, seconds, warmup=done <= warmup)
        yield Progress(done, examples, ready.crew.mean(losses, seconds), window)


def _step(ready: Ready, schedule: Schedule, rows: Indices, rate: float) -> Tensor:
    if ready.divided is not None:
        return ready.divided.step(ready, schedule, rows, rate)
    return step(ready, [schedule.collate(part) for part in schedule.parts(rows)], rate)
