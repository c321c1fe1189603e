"""One trial, read from top to bottom: a real fine-tune under a strategy, and what it was like.

:func:`run_trial` is what executors call. The phases of :func:`fine_tune` are functions of this
file; each lever acts in a file of its own beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from autotune.domain import Completed, CurvePoint, Infeasible, Job, Measurement, Outcome, Pruned
from autotune.errors import NanLoss, StopTrial, Unsupported
from autotune.measure import cost, memory, statistics
from autotune.measure.energy import EnergyMeter, counters
from autotune.measure.measurements import exact, product, sampled, throughput
from autotune.measure.reference import Reference
from autotune.measure.timing import Window
from autotune.ports import Report
from autotune.trial import inference
from autotune.trial.apply import apply_strategy
from autotune.trial.batching import Collator, subset, training_collator
from autotune.trial.crew import Crew, Ready
from autotune.trial.data import Prepared, load_split, prepare
from autotune.trial.notes import Notes, environment
from autotune.trial.placement import assemble, take_place
from autotune.trial.schedule import Schedule, schedule
from autotune.trial.split import Split
from autotune.trial.tasks import task_kind
from autotune.trial.tasks.base import IGNORED
from autotune.trial.training import train

RUNG_EXAMPLES = 128
"""Validation examples judged at a rung: always the same ones, and few, so that a rung costs a
fraction of a second."""

REFERENCE_CALLS = 2
REFERENCE_EVERY_SECONDS = 4.0


def run_trial(job: Job, report: Report) -> Outcome:
    """Fine-tune as ``job`` says, telling progress to ``report``, and return all that was learned.

    A trial that the search stops, whose loss is no number, or whose strategy cannot work here is an
    outcome that keeps the evidence so far. Anything else that goes wrong, memory included, is
    raised for the executor to judge.
    """
    notes = Notes()
    try:
        fine_tune(job, report, notes)
    except StopTrial as stop:
        return Pruned(stop.message, notes.evidence())
    except NanLoss as error:
        return Infeasible("nan_loss", error.message, notes.evidence())
    except Unsupported as error:
        return Infeasible("unsupported", error.message, notes.evidence())
    return Completed(notes.evidence())


def fine_tune(job: Job, report: Report, notes: Notes) -> None:
    """All phases of a trial, each noted with its time."""
    memory.reset_peak()
    with notes.phase("1 place"):
        device = take_place(job.strategy)
        crew = assemble(job.strategy, device)
        torch.manual_seed(job.seed)
        notes.environment.update(environment(device))
    with notes.phase("2 data"):
        data = read_data(job, device, notes, crew)
    meter = EnergyMeter(counters(device))
    with notes.phase("3 apply"), meter.running():
        ready = apply_strategy(job.strategy, data.prepared, data.collate, job.seed, crew)
        plan = schedule(job.strategy, job.task, data.collate, job.seed)
    reference = Reference(device)
    with notes.phase("4 reference"):
        reference.measure(REFERENCE_CALLS)
    with notes.phase("5 train"):
        windows = run_training(ready, plan, data, reference, meter, report, notes)
    with notes.phase("6 reference"):
        reference.measure(REFERENCE_CALLS)
    trained = ready.whole()
    with notes.phase("7 evaluate"):
        evaluate(trained, data, job, notes)
    with notes.phase("8 latency"):
        if crew.leads:
            measure_latency(trained, data, job, notes)
    with notes.phase("9 account"):
        account_speed(trained, windows, reference, notes)
        account_run(job, notes.seconds["3 apply"] + _seconds(windows), meter, notes)
    crew.leave()


@dataclass(frozen=True)
class Data:
    """The task's data: how training batches are made, and validation whole and for a rung."""

    prepared: Prepared
    collate: Collator
    validation: Split
    rung: Split

    def judged_by(self, split: Split) -> Collator:
        """How a split is put into batches that are not trained on: with as little padding as may
        be, whatever the strategy."""
        return Collator(split, self.prepared.pad_token_id, self.collate.device)


def read_data(job: Job, device: torch.device, notes: Notes, crew: Crew) -> Data:
    """Phase 2: the task's data, from the cache where it was prepared before."""
    prepared = crew.after_leader(lambda: prepare(job.task))
    for note in prepared.notes:
        notes.event("data", note)
    train_split, validation = load_split(prepared, "train"), load_split(prepared, "validation")
    drawn = np.random.default_rng(job.task.seed).permutation(len(validation))[:RUNG_EXAMPLES]
    collate = training_collator(job.strategy, prepared, train_split, device)
    return Data(prepared, collate, validation, subset(validation, drawn))


def run_training(
    ready: Ready,
    plan: Schedule,
    data: Data,
    reference: Reference,
    meter: EnergyMeter,
    report: Report,
    notes: Notes,
) -> list[Window]:
    """Phase 5: train, and between two windows tell how it goes, judge, and time the reference.

    Raises :class:`NanLoss`, and :class:`StopTrial` with the reason that ``report`` gives.
    """
    windows: list[Window] = []
    referred = 0.0
    for now in train(ready, plan, meter):
        if not math.isfinite(now.loss):
            raise NanLoss(f"the training loss is {now.loss} by step {now.step} of {plan.steps}")
        windows.append(now.window)
        seconds = _seconds(windows)
        rung = now.step in plan.rungs
        scores = {m.name: m.value for m in judge(ready.whole(), data, data.rung)[0]} if rung else {}
        point = CurvePoint(now.step, plan.steps, now.examples, seconds, now.loss, scores)
        notes.curve.append(point)
        if reason := ready.crew.tell(report, point):
            raise StopTrial(reason)
        if seconds - referred >= REFERENCE_EVERY_SECONDS:
            reference.measure()
            referred = seconds
    return windows


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


def evaluate(ready: Ready, data: Data, job: Job, notes: Notes) -> None:
    """Phase 7: scores on the whole validation split, and the speed at which they were made."""
    scores, windows = judge(ready, data, data.validation)
    speed = throughput("inference_samples_per_second", windows)
    notes.add(*scores, speed, *cost.of_inference(job.hourly_usd, speed))


def measure_latency(ready: Ready, data: Data, job: Job, notes: Notes) -> None:
    """Phase 8: the time to label one real example, not padded, at batch 1."""
    collate = data.judged_by(data.validation)
    warmup, times = inference.latencies(ready, collate, job.task.seed)
    p50, p95 = statistics.quantile(times, 0.5), statistics.quantile(times, 0.95)
    notes.add(
        sampled("inference_latency_ms", p50, times, warmup),
        sampled("inference_latency_p95_ms", p95, times, warmup),
    )


def account_speed(ready: Ready, windows: list[Window], reference: Reference, notes: Notes) -> None:
    """Phase 9: training speed, also against drift, and what the trial needs while it runs."""
    speed = throughput("train_samples_per_second", windows)
    referred = sampled(
        "reference_seconds",
        statistics.median(reference.seconds),
        reference.seconds,
        reference.warmup,
    )
    notes.add(speed, referred, product("relative_speed", speed, referred))
    notes.add(exact("model_size_mib", memory.model_mib(ready.model)))
    if (peaks := ready.crew.peaks_gib()) is not None:
        notes.add(exact("peak_memory_gib", sum(peaks)))
        notes.environment["peak_memory_gib_by_rank"] = " ".join(f"{peak:.3f}" for peak in peaks)
    if (on_devices := ready.crew.device_peaks_gib()) is not None:
        notes.add(exact("device_memory_gib", on_devices[0]))
        notes.add(exact("device_memory_reserved_gib", on_devices[1]))


def account_run(job: Job, seconds: float, meter: EnergyMeter, notes: Notes) -> None:
    """Phase 9: what the whole fine-tune took: applying the strategy and all steps."""
    notes.add(exact("train_seconds", seconds), *cost.of_fine_tune(job.hourly_usd, seconds))
    if meter.wh is not None:
        notes.add(exact("energy_wh", meter.wh))


def _seconds(windows: list[Window]) -> float:
    return sum(window.seconds for window in windows)
