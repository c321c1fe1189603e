"""The profile phase of a trial: throughput, memory and latency after a few seconds of training.

These figures do not depend on what the model has learned. They are measured and reported first:
the search can stop a trial that cannot reach the front at any accuracy, or take its accuracy from
another trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from autotune.domain import Job, Measurement
from autotune.measure import cost, memory, statistics
from autotune.measure.clock import Window
from autotune.measure.measurements import exact, product, sampled, throughput
from autotune.trial import evaluation
from autotune.trial.recorder import TrialRecorder
from autotune.trial.state import TrainState
from autotune.trial.training_run import TrainingRun

MIN_STEADY_WINDOWS = 3
"""Windows after the warm-up in the profile phase: the minimum for a meaningful interval."""

REFERENCE_CALLS = 2
"""Timings of the reference workload before and after profiling."""

MAX_PROFILES, MAX_CHANGE = 4, 1.25
"""Windows are discarded if the reference workload takes longer or less by this factor after them
than before: another program began to run, or ended."""


def profile(run: TrainingRun, job: Job, setup_seconds: float) -> None:
    """Train until the throughput is known, measure inference, record and report all figures.

    ``setup_seconds`` is the duration of the set-up phase.
    """
    measure_speed(run)
    measure_model(run.state.unsharded(), run, job)
    record_throughput(run, setup_seconds)
    record_cost(run, job, setup_seconds)
    metrics = {name: m.value for name, m in run.recorder.measurements.items()}
    last = run.recorder.curve[-1]
    run.report(last.step, last.loss, metrics)


def measure_speed(run: TrainingRun) -> None:
    """Train for a few windows between timings of the reference workload. If the speed of the
    machine changed meanwhile, they are discarded, and others follow: at most :data:`MAX_PROFILES`
    times in all."""
    for attempt in range(1, MAX_PROFILES + 1):
        run.reference.measure(REFERENCE_CALLS)
        while run.steady_windows < MIN_STEADY_WINDOWS and not run.is_finished:
            run.run_window()
        run.reference.measure(REFERENCE_CALLS)
        # All processes of a group decide the same.
        has_changed = run.state.group.sum(float(_has_changed(run.reference.seconds)))
        if run.is_finished or not has_changed or attempt == MAX_PROFILES:
            return
        run.discard_speed()


def _has_changed(reference_seconds: Sequence[float]) -> bool:
    """Whether the machine was slower at the first timings than at the last ones, or faster."""
    before, after = reference_seconds[:REFERENCE_CALLS], reference_seconds[-REFERENCE_CALLS:]
    return not 1 / MAX_CHANGE < sum(after) / sum(before) < MAX_CHANGE


def measure_model(state: TrainState, run: TrainingRun, job: Job) -> None:
    """Record the model's size, and the throughput and latency of inference."""
    data, recorder = run.data, run.recorder
    model, precision = state.model, state.precision
    recorder.add(exact("model_size_mib", memory.model_mib(model)))
    predictions = evaluation.predict(
        model, precision, data.eval_collator(data.rung), state.group, state.loss
    )
    record_inference(run, job, predictions.windows)
    if not state.group.is_main_process:
        return
    collate = data.eval_collator(data.evaluation)
    warmup, times = evaluation.measure_latencies(
        model, precision, collate, job.task.seed, state.loss
    )
    p50, p95 = statistics.quantile(times, 0.5), statistics.quantile(times, 0.95)
    recorder.add(
        sampled("inference_latency_ms", p50, times, warmup),
        sampled("inference_latency_p95_ms", p95, times, warmup),
    )


def record_inference(run: TrainingRun, job: Job, windows: list[Window]) -> None:
    """Record throughput and cost of batched inference."""
    speed = throughput("inference_samples_per_second", windows)
    run.recorder.add(speed, *cost.inference_cost(job.hourly_usd, speed))


def record_throughput(run: TrainingRun, setup_seconds: float) -> None:
    """Record training throughput, absolute and relative to the reference workload, set-up time and
    peak memory."""
    recorder, group, reference = run.recorder, run.state.group, run.reference
    speed = throughput("train_samples_per_second", run.windows)
    reference_seconds = sampled(
        "reference_seconds",
        statistics.median(reference.seconds),
        reference.seconds,
        reference.warmup,
    )
    recorder.add(speed, reference_seconds, product("relative_speed", speed, reference_seconds))
    recorder.add(exact("setup_seconds", setup_seconds + _warmup_overhead(run, speed)))
    if (peaks := group.peaks_gib()) is not None:
        _record_peak(recorder, "peak_memory_gib", sum(peaks))
        recorder.environment["peak_memory_gib_by_rank"] = " ".join(f"{gib:.3f}" for gib in peaks)
    if (device_peaks := group.device_peaks_gib()) is not None:
        _record_peak(recorder, "device_memory_gib", device_peaks[0])
        _record_peak(recorder, "device_memory_reserved_gib", device_peaks[1])


def _record_peak(recorder: TrialRecorder, name: str, gib: float) -> None:
    """Record a peak, unless it was higher in an earlier process of this training run."""
    earlier = recorder.measurements.get(name)
    recorder.add(exact(name, gib if earlier is None else max(gib, earlier.value)))


def _warmup_overhead(run: TrainingRun, speed: Measurement) -> float:
    """Seconds of the warm-up beyond what its examples take at steady speed: mostly compilation."""
    warmup = list(takewhile(lambda window: window.warmup, run.windows))
    seconds = sum(window.seconds for window in warmup)
    return max(0.0, seconds - sum(window.examples for window in warmup) / speed.value)


def record_cost(run: TrainingRun, job: Job, setup_seconds: float) -> None:
    """Record time, price and energy of the full fine-tune: set-up and all steps.

    Remaining steps are extrapolated at the throughput so far.
    """
    recorder = run.recorder
    speed = recorder.measurements.get("train_samples_per_second")
    remaining = max(0, run.plan.examples - run.examples)
    elapsed = setup_seconds + run.seconds
    seconds = elapsed + (remaining / speed.value if speed is not None else 0.0)
    recorder.add(exact("train_seconds", seconds), *cost.training_cost(job.hourly_usd, seconds))
    if (energy_wh := run.state.group.sum(run.meter.wh)) is not None:
        recorder.add(exact("energy_wh", energy_wh * seconds / elapsed))
