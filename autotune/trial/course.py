"""Training as it goes: a window at a time, each noted, judged at a rung, and told to the search."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from autotune.domain import CurvePoint, Job, Measurement
from autotune.errors import NanLoss, StopTrial
from autotune.measure import statistics
from autotune.measure.energy import EnergyMeter
from autotune.measure.reference import Reference
from autotune.measure.timing import Window
from autotune.ports import Report
from autotune.trial import inference
from autotune.trial.batching import Collator, subset, training_collator
from autotune.trial.crew import Crew, Ready
from autotune.trial.data import Prepared, load_split, prepare
from autotune.trial.notes import Notes
from autotune.trial.schedule import Schedule
from autotune.trial.split import Split
from autotune.trial.tasks import task_kind
from autotune.trial.tasks.base import IGNORED
from autotune.trial.training import train

RUNG_EXAMPLES = 128
"""Validation examples judged at a rung: always the same ones, and few, so that a rung costs a
fraction of a second."""

REFERENCE_EVERY_SECONDS = 4.0


@dataclass(frozen=True)
class Data:
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


def read_data(job: Job, device: torch.device, notes: Notes, crew: Crew) -> Data:
    """The task's data, from the cache where it was prepared before."""
    prepared = crew.after_leader(lambda: prepare(job.task))
    for note in prepared.notes:
        notes.event("data", note)
    train_split = load_split(prepared, "train")
    judged = load_split(prepared, "test" if job.test else "validation")
    drawn = np.random.default_rng(job.task.seed).permutation(len(judged))[:RUNG_EXAMPLES]
    collate = training_collator(job.strategy, prepared, train_split, device)
    return Data(prepared, collate, judged, subset(judged, drawn))


@dataclass
class Course:
    """A training under way. ``windows`` are those timed so far, ``referred`` the second of training
    at which the reference workload was last timed beside them."""

    ready: Ready
    plan: Schedule
    data: Data
    reference: Reference
    meter: EnergyMeter
    report: Report
    notes: Notes
    windows: list[Window] = field(default_factory=list)
    examples: int = 0
    referred: float = 0.0

    def __post_init__(self) -> None:
        self._going = self._go()

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

    def _go(self) -> Iterator[CurvePoint]:
        for progress in train(self.ready, self.plan, self.meter):
            step, loss = progress.step, progress.loss
            if not math.isfinite(loss):
                raise NanLoss(f"the training loss is {loss} by step {step}")
            self.windows.append(progress.window)
            self.examples = progress.examples
            yield self.tell(step, loss, self._judged_at(step))
            if self.seconds - self.referred >= REFERENCE_EVERY_SECONDS:
                self.reference.measure()
                self.referred = self.seconds

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
        scores, _ = judge(self.ready.whole(), self.data, self.data.rung)
        return {score.name: score.value for score in scores}


def judge(ready: Ready, data: Data, split: Split) -> tuple[list[Measurement], list[Window]]:
    """Scores and mean loss on ``split``, and the windows timed while predicting it.

    Raises :class:`NanLoss` where a prediction is no number.
    """
    found = inference.predict(ready, data.judged_by(split))
    losses = found.losses[split.labels != IGNORED]
    if not np.isfinite(losses).all():
        raise NanLoss("the fine-tuned model's loss on validation examples is not finite")
    kind, names = task_kind(data.prepared.kind), data.prepared.label_names
    scores = kind.scores(split.labels, found.classes, split.offsets, names)
    value, ci95 = statistics.mean(losses.tolist())
    loss = Measurement("loss", value, "nats", len(losses), ci95)
    return [*scores.values(), loss], found.windows
