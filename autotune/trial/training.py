"""The training loop. It yields a window of timed steps at a time and stands still in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from autotune.measure.energy import EnergyMeter
from autotune.measure.timing import Window, now
from autotune.trial.crew import Ready
from autotune.trial.schedule import Schedule, linear_decay
from autotune.trial.stepping import step, summed_loss

__all__ = ["Progress", "Ready", "step", "summed_loss", "train"]

WARMUP_STEPS = 5
"""The first steps fill caches, pools and compilers; they are timed in a window of their own."""

WINDOW_SECONDS = 0.5


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
    take_step = _steps(ready, schedule)
    warmup = min(WARMUP_STEPS, schedule.steps // 4)
    ends = {*schedule.rungs, warmup, schedule.steps}
    done = examples = 0
    while done < schedule.steps:
        ready.model.train()
        losses, before = [], examples
        with meter.running():
            begun = now(ready.device)
            while True:
                rate = linear_decay(ready.peak_rate, done, schedule.steps)
                size, loss = take_step(rate)
                losses.append(loss)
                done, examples = done + 1, examples + size
                taken = time.perf_counter() - begun
                if ready.crew.enough(len(losses), taken, WINDOW_SECONDS) or done in ends:
                    break
            seconds = now(ready.device) - begun
        window = Window(examples - before, seconds, warmup=done <= warmup)
        yield Progress(done, examples, ready.crew.mean(losses, seconds), window)


def _steps(ready: Ready, schedule: Schedule) -> Callable[[float], tuple[int, Tensor]]:
    """What takes the next step at a learning rate; it returns the batch's size and loss."""
    divided = ready.divided
    if divided is not None:
        batches = schedule.batches()

        def together(rate: float) -> tuple[int, Tensor]:
            rows = next(batches)
            return len(rows), divided.step(ready, schedule, rows, rate)

        return together
    loaded = schedule.loaded()

    def alone(rate: float) -> tuple[int, Tensor]:
        rows, parts = next(loaded)
        return len(rows), step(ready, parts, rate)

    return alone
