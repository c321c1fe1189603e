"""One trial of a user's ``Trainer``, in a process of its own: trained, measured and evaluated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from transformers import TrainerCallback, TrainerState
from transformers.trainer_utils import PredictionOutput

from autotune.api.trainer_evaluations import (
    record_best_step,
    temporary_checkpoints,
    trial_arguments,
    trial_scores,
)
from autotune.api.trainer_parts import TrainerParts
from autotune.domain import (
    CurvePoint,
    Job,
    Measurement,
    Outcome,
    Phase,
    Study,
)
from autotune.domain.metrics import METRICS, Metric
from autotune.domain.study import Direction
from autotune.errors import NanLoss, StopTrial, UsageError
from autotune.export.templates.device import select_device
from autotune.measure import cost, memory, statistics
from autotune.measure.clock import Window, now
from autotune.measure.correctness import pack_correctness
from autotune.measure.drift import ReferenceWorkload
from autotune.measure.measurements import exact, product, sampled, throughput
from autotune.ports import Report
from autotune.trial.devices import init_device
from autotune.trial.metrics import wilson_interval
from autotune.trial.profiling import MIN_STEADY_WINDOWS, REFERENCE_CALLS
from autotune.trial.recorder import TrialRecorder, describe_environment
from autotune.trial.run import record_outcome
from autotune.trial.training import WARMUP_STEPS, WINDOW_SECONDS

SPLIT = "eval"
"""The prefix that Trainer gives to scores."""


@dataclass(frozen=True)
class TrainerTrial:
    """Evaluates a job with the Trainer in ``parts``, bytes of cloudpickle. A worker receives the
    object itself over its socket; nothing of it is written to a disk."""

    parts: bytes
    study: Study
    metrics: tuple[tuple[str, Direction], ...] = ()

    def __call__(self, job: Job, report: Report) -> Outcome:
        """Fine-tune as ``job`` specifies; the outcomes are those of other trials."""
        register_metrics(dict(self.metrics))
        job = _with_only_its_gpu(job)
        parts, recorder = cloudpickle.loads(self.parts), TrialRecorder()
        return record_outcome(
            recorder, lambda: _fine_tune(parts, self.study, job, report, recorder)
        )


def _with_only_its_gpu(job: Job) -> Job:
    """``job`` with its GPU as ``cuda:0``, the only one that this process sees: Trainer uses all."""
    name = str(job.strategy["device"])
    if not name.startswith("cuda"):
        return job
    device = select_device(name, 0)
    return replace(job, strategy=job.strategy.with_values(device=str(device)))


def register_metrics(directions: Mapping[str, Direction]) -> None:
    """Register the user's own scores, which ``compute_metrics`` returns."""
    for name, direction in directions.items():
        if name not in METRICS:
            METRICS.register(
                Metric(
                    name, name.replace("_", " "), "", direction, Phase.TRAIN,
                    "A score of compute_metrics", 4,
                )
            )  # fmt: skip


def _fine_tune(
    parts: TrainerParts, study: Study, job: Job, report: Report, recorder: TrialRecorder
) -> None:
    memory.reset_peak()
    with recorder.stage("1 setup"):
        device = init_device(job.strategy)
        recorder.environment.update(describe_environment(device))
        changes = trial_arguments(parts.arguments)
        trainer = parts.build(study, job.strategy, job.seed, Path(job.directory), **changes)
        _unite_precision_settings()
        reference = ReferenceWorkload(device)
    clock = TrainingClock(device, report, recorder)
    trainer.add_callback(clock)
    reference.measure(REFERENCE_CALLS)
    with recorder.stage("2 train"), temporary_checkpoints(Path(job.directory)):
        trainer.train()
    clock.close_window()
    record_best_step(trainer, recorder)
    reference.measure(REFERENCE_CALLS)
    with recorder.stage("3 evaluate"):
        split: Any = parts.test_dataset if job.on_test_split else trainer.eval_dataset
        start = now(device)
        output = trainer.predict(split, metric_key_prefix=SPLIT)
        window = Window(len(split), now(device) - start)
    _record_speed(recorder, clock, reference, window)
    _record_scores(recorder, output, job)
    _require_scores(recorder, study)
    setup = recorder.seconds["1 setup"]
    seconds = setup + sum(w.seconds for w in clock.windows)
    recorder.add(exact("train_seconds", seconds), exact("setup_seconds", setup))
    recorder.add(*cost.training_cost(job.hourly_usd, seconds))
    model: Any = trainer.model
    recorder.add(exact("model_size_mib", memory.model_mib(model)))
    recorder.add(exact("train_samples", clock.examples))
    _record_memory(recorder, device)


def _unite_precision_settings() -> None:
    """Give torch's older setting of matrix products the value that ``TrainingArguments`` has set by
    the newer one. torch refuses to read the older one where they differ."""
    backends: Any = torch.backends  # a module that defines its attributes when it is imported
    is_tf32 = backends.fp32_precision == "tf32"
    torch.set_float32_matmul_precision("high" if is_tf32 else "highest")


class TrainingClock(TrainerCallback):
    """Times windows of training steps, without evaluations; reports progress and the scores of
    evaluations; ends a trial whose loss is NaN or that the search stops."""

    def __init__(self, device: torch.device, report: Report, recorder: TrialRecorder) -> None:
        self._device, self._report, self._recorder = device, report, recorder
        self.windows: list[Window] = []
        self.examples = 0
        self._window_examples, self._start, self._state = 0, 0.0, TrainerState()

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        self._batch = args.train_batch_size * args.gradient_accumulation_steps
        self._start = now(self._device)

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        self._state = state
        self._window_examples += self._batch
        is_warmup_end = state.global_step == WARMUP_STEPS
        is_over = is_warmup_end or now(self._device) - self._start >= WINDOW_SECONDS
        if is_over or control.should_evaluate:
            self.close_window()

    def on_epoch_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        if control.should_evaluate:
            self.close_window()

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if (scores := trial_scores(kwargs.get("metrics"), SPLIT)) and self.windows:
            self._report_point(scores)
        self._start = now(self._device)

    def on_save(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        self._start = now(self._device)

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        loss = (kwargs.get("logs") or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise NanLoss(f"the training loss is {loss} by step {state.global_step}")

    def close_window(self) -> None:
        """End the window, if it has steps, and report the progress."""
        if not self._window_examples:
            return
        seconds = now(self._device) - self._start
        is_warmup = self._state.global_step <= WARMUP_STEPS < self._state.max_steps
        self.windows.append(Window(self._window_examples, seconds, is_warmup))
        self.examples += self._window_examples
        self._window_examples = 0
        is_profiled = sum(not w.warmup for w in self.windows) == MIN_STEADY_WINDOWS
        speed = throughput("train_samples_per_second", self.windows)
        self._report_point({speed.name: speed.value} if is_profiled else {})
        self._start = now(self._device)

    def _report_point(self, metrics: Mapping[str, float]) -> None:
        state = self._state
        total = max(state.max_steps, state.global_step)
        elapsed = sum(window.seconds for window in self.windows)
        point = CurvePoint(state.global_step, total, self.examples, elapsed, None, metrics)
        self._recorder.curve.append(point)
        if reason := self._report(point):
            raise StopTrial(reason)


def _record_speed(
    recorder: TrialRecorder, clock: TrainingClock, reference: ReferenceWorkload, window: Window
) -> None:
    speed = throughput("train_samples_per_second", clock.windows)
    median = statistics.median(reference.seconds)
    reference_seconds = sampled("reference_seconds", median, reference.seconds, reference.warmup)
    recorder.add(speed, reference_seconds, product("relative_speed", speed, reference_seconds))
    recorder.add(exact("inference_samples_per_second", window.rate))


def _record_scores(recorder: TrialRecorder, output: PredictionOutput, job: Job) -> None:
    """The scores of ``compute_metrics`` and the loss, by their names without the prefix."""
    for name, value in trial_scores(output.metrics, SPLIT).items():
        recorder.add(_score(name, value, output))
    labels: Any = output.label_ids
    logits: Any = output.predictions
    if _are_class_scores(labels, logits):
        split = f"{job.study}:{'test' if job.on_test_split else 'validation'}:{len(labels)}"
        recorder.correctness = pack_correctness(split, logits.argmax(-1) == labels)


def _require_scores(recorder: TrialRecorder, study: Study) -> None:
    """Raise :class:`UsageError` if ``compute_metrics`` did not return what the search needs."""
    targets = [name for name in study.target_metrics if METRICS[name].is_score]
    if missing := [name for name in targets if name not in recorder.measurements]:
        raise UsageError(f"compute_metrics of the Trainer did not return {' and '.join(missing)}")


def _are_class_scores(labels: Any, logits: Any) -> bool:
    """Whether there is one class for each example, and a score for each class."""
    if not isinstance(labels, np.ndarray) or not isinstance(logits, np.ndarray):
        return False
    return labels.ndim == 1 and logits.ndim == 2 and np.issubdtype(labels.dtype, np.integer)


def _score(name: str, value: float, output: PredictionOutput) -> Measurement:
    """A score; an accuracy with its binomial interval."""
    metric, labels = METRICS[name], output.label_ids
    if name != "accuracy" or not isinstance(labels, np.ndarray):
        return exact(name, value)
    ci95 = wilson_interval(value, labels.size)
    return Measurement(name, value, metric.unit, labels.size, ci95)


def _record_memory(recorder: TrialRecorder, device: torch.device) -> None:
    if (peak := memory.peak_gib()) is not None:
        recorder.add(exact("peak_memory_gib", peak))
    if (peaks := memory.device_peaks_gib(device)) is not None:
        recorder.add(
            exact("device_memory_gib", peaks[0]), exact("device_memory_reserved_gib", peaks[1])
        )
