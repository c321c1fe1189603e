"""Training as it goes: a window at a time, each noted, judged at a rung, and told to the search."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autotune.domain import CurvePoint, Job, Measurement
from autotune.errors import NanLoss, StopTrial
from autotune.measure import statistics
from autotune.measure.clock import Window, now
from autotune.measure.drift import ReferenceWorkload
from autotune.measure.energy import EnergyMeter
from autotune.ports import Report
from autotune.trial import evaluation
from autotune.trial.data.batching import Batch, Collator, subset, training_collator
from autotune.trial.data.datasets import Prepared, load_split, prepare
from autotune.trial.data.split import Split
from autotune.trial.distributed.process_group import ProcessGroup, TrainState
from autotune.trial.effects import optimizers
from autotune.trial.plan import TrainingPlan, linear_decay
from autotune.trial.recorder import TrialRecorder
from autotune.trial.tasks import task_kind
from autotune.trial.tasks.base import IGNORED

RUNG_EXAMPLES = 128
"""Validation examples judged at a rung: always the same ones, and few, so that a rung costs a
fraction of a second."""

REFERENCE_EVERY_SECONDS = 4.0


@dataclass(frozen=True)
class TrialData:
    """The task's data: how training batches are made, and the split that a trial is judged on,
    whole and for a rung."""

    prepared: Prepared
    collate: Collator
    validation: Split
    rung: Split

    def judged_by(self, split: Split) -> Collator:
        """How a split is put into batches that are not trained on: with as little padding as may
        be, whatever the strategy."""
        return Collator(split, self.prepared.pad_token_id, self.collate.device)


def read_data(
    job: Job, device: torch.device, notes: TrialRecorder, crew: ProcessGroup
) -> TrialData:
    """The task's data, from the cache where it was prepared before."""
    prepared = crew.main_process_first(lambda: prepare(job.task))
    for note in prepared.notes:
        notes.event("data", note)
    train_split = load_split(prepared, "train")
    judged = load_split(prepared, "test" if job.on_test_split else "validation")
    drawn = np.random.default_rng(job.task.seed).permutation(len(judged))[:RUNG_EXAMPLES]
    collate = training_collator(job.strategy, prepared, train_split, device)
    return TrialData(prepared, collate, judged, subset(judged, drawn))


@dataclass
class TrainingRun:
    """A training under way. ``windows`` are those timed so far, ``referred`` the second of training
    at which the reference workload was last timed beside them."""

    ready: TrainState
    plan: TrainingPlan
    data: TrialData
    reference: ReferenceWorkload
    meter: EnergyMeter
    report: Report
    notes: TrialRecorder
    windows: list[Window] = field(default_factory=list)
    examples: int = 0
    last_reference_at: float = 0.0

    def __post_init__(self) -> None:
        self._going = self._train()

    @property
    def seconds(self) -> float:
        """Time spent in steps."""
        return sum(window.seconds for window in self.windows)

    @property
    def steady(self) -> int:
        """Windows after warm-up."""
        return sum(not window.warmup for window in self.windows)

    def __iter__(self) -> Iterator[CurvePoint]:
        """The points of the curve; whoever stops reading goes on later where it stopped.

        Raises :class:`NanLoss`, and :class:`StopTrial` with the reason that the search gives.
        """
        return self._going

    def _train(self) -> Iterator[CurvePoint]:
        for progress in train(self.ready, self.plan, self.meter):
            step, loss = progress.step, progress.loss
            if not math.isfinite(loss):
                raise NanLoss(f"the training loss is {loss} by step {step}")
            self.windows.append(progress.window)
            self.examples = progress.examples
            yield self.tell(step, loss, self._judged_at(step))
            if self.seconds - self.last_reference_at >= REFERENCE_EVERY_SECONDS:
                self.reference.measure()
                self.last_reference_at = self.seconds

    def tell(self, step: int, loss: float | None, metrics: dict[str, float]) -> CurvePoint:
        """Note a point of the curve and tell the search, which may end the trial there."""
        point = CurvePoint(step, self.plan.steps, self.examples, self.seconds, loss, metrics)
        self.notes.curve.append(point)
        if reason := self.ready.crew.tell(self.report, point):
            raise StopTrial(reason)
        return point

    def _judged_at(self, step: int) -> dict[str, float]:
        if step not in self.plan.rungs:
            return {}
        scores, _ = evaluate(self.ready.unsharded(), self.data, self.data.rung)
        return {score.name: score.value for score in scores}


def evaluate(
    ready: TrainState, data: TrialData, split: Split
) -> tuple[list[Measurement], list[Window]]:
    """Scores and mean loss on ``split``, and the windows timed while predicting it.

    Raises :class:`NanLoss` where a prediction is no number.
    """
    found = evaluation.predict(ready, data.judged_by(split))
    losses = found.losses[split.labels != IGNORED]
    if not np.isfinite(losses).all():
        raise NanLoss("the fine-tuned model's loss on validation examples is not finite")
    kind, names = task_kind(data.prepared.kind), data.prepared.label_names
    scores = kind.scores(split.labels, found.classes, split.offsets, names)
    value, ci95 = statistics.mean(losses.tolist())
    loss = Measurement("loss", value, "nats", len(losses), ci95)
    return [*scores.values(), loss], found.windows


__all__ = ["Progress", "TrainState", "step", "summed_loss", "train"]

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


def train(ready: TrainState, schedule: TrainingPlan, meter: EnergyMeter) -> Iterator[Progress]:
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
                if ready.crew.window_done(len(losses), taken, WINDOW_SECONDS) or done in ends:
                    break
            seconds = now(ready.device) - begun
        window = Window(examples - before, seconds, warmup=done <= warmup)
        yield Progress(done, examples, ready.crew.mean(losses, seconds), window)


def _steps(ready: TrainState, schedule: TrainingPlan) -> Callable[[float], tuple[int, Tensor]]:
    """What takes the next step at a learning rate; it returns the batch's size and loss."""
    divided = ready.divided
    if divided is not None:
        batches = schedule.batches()

        def together(rate: float) -> tuple[int, Tensor]:
            rows = next(batches)
            return len(rows), divided.step(ready, schedule, rows, rate)

        return together
    loaded = schedule.prefetched()

    def alone(rate: float) -> tuple[int, Tensor]:
        rows, parts = next(loaded)
        return len(rows), step(ready, parts, rate)

    return alone


def step(ready: TrainState, parts: list[Batch], rate: float) -> Tensor:
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
