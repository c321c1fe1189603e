"""The speed half of a trial: what a few seconds of steady training and some inference tell.

Speed, memory and latency do not wait for the model to have learnt anything. So they are measured
first, and told to the search, which may know enough then: either that the strategy cannot matter
whatever its accuracy, or its accuracy from another trial.
"""

from __future__ import annotations

from autotune.domain import Job, Measurement
from autotune.measure import cost, memory, statistics
from autotune.measure.clock import Window
from autotune.measure.measurements import exact, product, sampled, throughput
from autotune.trial import evaluation
from autotune.trial.distributed.process_group import TrainState
from autotune.trial.training import TrainingRun

STEADY_WINDOWS = 3
"""Windows after warm-up that a probe rests on: the fewest that give a spread worth the name."""

REFERENCE_CALLS = 2


def probe(course: TrainingRun, job: Job, setup_seconds: float) -> None:
    """Train until the speed is known, then measure all that does not depend on what is learnt.

    The figures are noted and told to the search. ``setup_seconds`` is what it took to get ready.
    """
    course.reference.measure(REFERENCE_CALLS)
    for _ in course:
        if course.steady >= STEADY_WINDOWS:
            break
    course.reference.measure(REFERENCE_CALLS)
    measure_model(course.ready.unsharded(), course, job)
    record_throughput(course, setup_seconds)
    account_run(course, job, setup_seconds)
    figures = {name: m.value for name, m in course.notes.measurements.items()}
    last = course.notes.curve[-1]
    course.tell(last.step, last.loss, figures)


def measure_model(ready: TrainState, course: TrainingRun, job: Job) -> None:
    """The model's size, and the time to label batches and one real example, not padded."""
    data, notes = course.data, course.notes
    notes.add(exact("model_size_mib", memory.model_mib(ready.model)))
    found = evaluation.predict(ready, data.judged_by(data.rung))
    account_inference(course, job, found.windows)
    if not ready.crew.is_main_process:
        return
    warmup, times = evaluation.latencies(ready, data.judged_by(data.validation), job.task.seed)
    p50, p95 = statistics.quantile(times, 0.5), statistics.quantile(times, 0.95)
    notes.add(
        sampled("inference_latency_ms", p50, times, warmup),
        sampled("inference_latency_p95_ms", p95, times, warmup),
    )


def account_inference(course: TrainingRun, job: Job, windows: list[Window]) -> None:
    """Speed and price of labelling in batches."""
    speed = throughput("inference_samples_per_second", windows)
    course.notes.add(speed, *cost.of_inference(job.hourly_usd, speed))


def record_throughput(course: TrainingRun, setup_seconds: float) -> None:
    """Training speed, also against drift, and what the trial needs while it runs."""
    notes, crew, referred = course.notes, course.ready.crew, course.reference
    speed = throughput("train_samples_per_second", course.windows)
    reference = sampled(
        "reference_seconds",
        statistics.median(referred.seconds),
        referred.seconds,
        referred.warmup,
    )
    notes.add(speed, reference, product("relative_speed", speed, reference))
    notes.add(exact("setup_seconds", setup_seconds + _extra_seconds(course, speed)))
    if (peaks := crew.peaks_gib()) is not None:
        notes.add(exact("peak_memory_gib", sum(peaks)))
        notes.environment["peak_memory_gib_by_rank"] = " ".join(f"{peak:.3f}" for peak in peaks)
    if (on_devices := crew.device_peaks_gib()) is not None:
        notes.add(exact("device_memory_gib", on_devices[0]))
        notes.add(exact("device_memory_reserved_gib", on_devices[1]))


def _extra_seconds(course: TrainingRun, speed: Measurement) -> float:
    """What the steps of warm-up took beyond their share of steady time: compiling, mostly."""
    warmup = [window for window in course.windows if window.warmup]
    taken = sum(window.seconds for window in warmup)
    return max(0.0, taken - sum(window.examples for window in warmup) / speed.value)


def account_run(course: TrainingRun, job: Job, setup_seconds: float) -> None:
    """What the whole fine-tune takes: getting ready and all steps. Of those not taken yet, what
    they will take at the speed so far."""
    speed = course.notes.measurements.get("train_samples_per_second")
    left = max(0, course.plan.examples - course.examples)
    done = setup_seconds + course.seconds
    seconds = done + (left / speed.value if speed is not None else 0.0)
    course.notes.add(exact("train_seconds", seconds), *cost.of_fine_tune(job.hourly_usd, seconds))
    if (wh := course.ready.crew.sum(course.meter.wh)) is not None:
        course.notes.add(exact("energy_wh", wh * seconds / done))
