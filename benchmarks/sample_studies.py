"""Synthetic studies that look like real ones, the same on every run.

For tests and benchmarks of code that reads a store. Speed, memory and scores follow simple formulas
with noise. Nothing here was measured, so do not quote it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from autotune.domain import (
    Budget,
    Categorical,
    Completed,
    Constraint,
    CurvePoint,
    Dimension,
    Event,
    Failed,
    FailureReason,
    Infeasible,
    Measurement,
    Objective,
    Outcome,
    Pruned,
    Range,
    SearchSpace,
    State,
    Strategy,
    Study,
    Task,
    Trial,
    TrialOrigin,
    TrialResult,
    Value,
)
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import complete
from autotune.levers import LEVERS
from autotune.store import SqlStore, codec
from autotune.store.models import (
    CurvePointRow,
    EventRow,
    MeasurementRow,
    MemoryTimelineRow,
    StudyRow,
    TrialRow,
)

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SPEED, ACCURACY, COST, MEMORY = (
    "train_samples_per_second",
    "accuracy",
    "cost_usd",
    "peak_memory_gib",
)
_PRECISION = {"fp32": 1.0, "bf16": 1.42, "bf16-pure": 1.53}
_PADDING = {"fixed": 0.81, "dynamic": 1.0, "bucketed": 1.38}
_DEFAULTS: dict[str, Value] = {
    **{lever.name: lever.default for lever in LEVERS.values() if not callable(lever.default)},
    "device": "cpu",
    "threads": 2,
    "allocator": "system",
    "batch_size": 8,
    "micro_batch_size": "full",
    "padding": "dynamic",
    "precision": "fp32",
    "pruning_ratio": 0.0,
    "pruning_method": "structured",
    "freeze_layers": 0,
    "learning_rate": 5e-5,
    "optimizer": "adamw-fused",
}
_DIMENSIONS = (
    Dimension("threads", Categorical((1, 2))),
    Dimension("allocator", Categorical(("system", "tuned"))),
    Dimension("batch_size", Categorical((8, 16, 32, 64))),
    Dimension("micro_batch_size", Categorical(("full", 4, 8))),
    Dimension("padding", Categorical(("fixed", "dynamic", "bucketed"))),
    Dimension("precision", Categorical(("fp32", "bf16", "bf16-pure"))),
    Dimension("pruning_ratio", Range(0.0, 0.75, step=0.25)),
    Dimension("pruning_method", Categorical(("structured", "layers")), when="pruning_ratio > 0"),
    Dimension("freeze_layers", Categorical((0, 1, 3))),
    Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
    Dimension("optimizer", Categorical(("adamw-fused", "sgd"))),
)


def study(
    name: str = "bert",
    metrics: Sequence[str] = (SPEED, ACCURACY, COST),
    *,
    constraints: Sequence[Constraint] = (Constraint(ACCURACY, ">=", -0.05, relative=True),),
    trials: int = 48,
    device: str = "cpu",
) -> Study:
    """A study of ``metrics`` (in their better direction) over a dozen levers."""
    return Study(
        name,
        Task(),
        tuple(Objective(metric, METRICS[metric].direction) for metric in metrics),
        SearchSpace(_DIMENSIONS, {**_DEFAULTS, "device": device}),
        tuple(constraints),
        Budget(trials=trials, minutes=60),
    )


def trials(study: Study, count: int, *, seed: int = 0, running: int = 0) -> Iterator[Trial]:
    """``count`` finished trials with full results, the default first, then ``running`` ones.

    The later a trial, the more likely are good settings, as with a real sampler.
    """
    rng = random.Random(seed)
    at = START
    for number in range(count + running):
        strategy = study.baseline if number == 0 else _strategy(study, rng, number / count)
        is_running = number >= count
        trial = Trial(
            number,
            State.RUNNING if is_running else State.COMPLETE,
            strategy,
            origin=TrialOrigin.DEFAULT if number == 0 else TrialOrigin.SAMPLED,
            started_at=at,
        )
        if is_running:
            yield trial
            continue
        outcome, seconds = _outcome(study, strategy, rng, number)
        at += timedelta(seconds=seconds)
        yield trial.finish(outcome, at)
        at += timedelta(seconds=rng.uniform(0.2, 0.6))


def confirming(trial: Trial, number: int, seed: int) -> Trial:
    """A confirmation of ``trial``: a full run with another seed, evaluated on other samples."""
    measurements = {
        name: replace(m, value=m.value * (0.99 + 0.001 * (seed % 10)), ci95=None)
        for name, m in trial.result.measurements.items()
    }
    result = replace(trial.result, measurements=measurements)
    later = _later(trial, number)
    return replace(later, seed=seed, origin=TrialOrigin.CONFIRMATION, result=result)


def _later(trial: Trial, number: int) -> Trial:
    """The same trial with a higher number and later times."""
    delay = timedelta(seconds=20 * (number - trial.number))
    started, finished = (at and at + delay for at in (trial.started_at, trial.finished_at))
    return replace(trial, number=number, started_at=started, finished_at=finished)


def sharing(source: Trial, number: int) -> Trial:
    """A trial that reuses the scores of ``source`` and has another speed."""
    other = "system" if source.strategy["allocator"] == "tuned" else "tuned"
    speedup = 1.22 if other == "tuned" else 1 / 1.22
    measurements = dict(source.result.measurements)
    for name in (ACCURACY, "f1"):
        measurements[name] = replace(measurements[name], source=source.number)
    speed = measurements[SPEED].value * speedup
    measurements[SPEED] = _measurement(SPEED, speed, random.Random(number))
    environment = {**source.result.environment, "predicted": {SPEED: speed * 0.93}}
    result = replace(
        source.result, measurements=measurements, curve=(), memory=(), environment=environment
    )
    strategy = source.strategy.with_values(allocator=other)
    return replace(_later(source, number), strategy=strategy, result=result)


def skipped(trial: Trial, number: int) -> tuple[Trial, Trial]:
    """Two trials that did not train: one predicted to need too much memory, one pruned after its
    profile phase."""
    infeasible = Infeasible(
        FailureReason.PREDICTED, "would need 3.1 GiB (2.8 to 3.4), the limit is 2.4 GiB",
        TrialResult(environment={"predicted": {MEMORY: 3.1}}),
    )  # fmt: skip
    pruned = Pruned(
        "even with an accuracy of 82% it would be dominated by trial 0",
        TrialResult({SPEED: _measurement(SPEED, 20.0, random.Random(number))}),
    )
    first, second = (
        replace(_later(trial, n), state=State.RUNNING, result=TrialResult())
        for n in (number, number + 1)
    )
    assert first.started_at is not None and second.started_at is not None
    duration = timedelta(seconds=2)
    return (
        first.finish(infeasible, first.started_at + duration),
        second.finish(pruned, second.started_at + duration),
    )


def _strategy(study: Study, rng: random.Random, progress: float) -> Strategy:
    is_good = rng.random() < 0.25 + 0.5 * progress
    choices: dict[str, Value] = {}
    for dimension in study.space.dimensions:
        domain = dimension.domain
        if isinstance(domain, Categorical):
            choices[dimension.lever] = rng.choice(domain.values)
        else:
            choices[dimension.lever] = _sample(domain, rng)
    if is_good:
        choices |= {"threads": 2, "padding": "bucketed", "optimizer": "adamw-fused"}
        choices["allocator"] = "tuned"
        rate = float(f"{10 ** rng.gauss(-3.9, 0.2):.4g}")
        choices["learning_rate"] = min(max(rate, 1e-5), 1e-3)
    return complete(study.space, choices)


def _sample(domain: Range, rng: random.Random) -> float:
    if domain.step is not None:
        return domain.low + domain.step * rng.randrange(
            int((domain.high - domain.low) / domain.step) + 1
        )
    return float(f"{domain.low * (domain.high / domain.low) ** rng.random():.4g}")


def _outcome(
    study: Study, strategy: Strategy, rng: random.Random, number: int
) -> tuple[Outcome, float]:
    values = _metric_values(strategy, rng)
    environment = {
        "torch": "2.13.0",
        "predicted": {MEMORY: round(values[MEMORY] * rng.uniform(0.9, 1.15), 3)},
    }
    draw = rng.random()
    if number and values[MEMORY] > 2.4:
        reason = f"needs {values[MEMORY]:.1f} GiB, the limit is 2.4 GiB"
        return Infeasible(
            FailureReason.OUT_OF_MEMORY, reason, TrialResult(environment=environment)
        ), 4.0
    if number and draw < 0.02:
        return Failed(
            FailureReason.CRASH,
            "the worker ended by signal 9 (SIGKILL)",
            TrialResult(log="Killed\n"),
        ), 9.0
    result = _result(values, rng, environment)
    if number and draw < 0.12:
        curve = result.curve[: 1 + len(result.curve) // 3]
        reason = f"at step {curve[-1].step} no longer able to reach the front"
        return Pruned(reason, TrialResult(curve=curve, events=result.events)), 8.0
    return Completed(result), values["train_seconds"]


def _metric_values(strategy: Strategy, rng: random.Random) -> dict[str, float]:
    get = strategy.values.__getitem__
    gpu = str(get("device")) != "cpu"
    remaining = 1 - float(get("pruning_ratio")) * (
        0.85 if get("pruning_method") == "layers" else 1.0
    )
    micro = get("batch_size") if get("micro_batch_size") == "full" else get("micro_batch_size")
    speed = 62.0 * (18 if gpu else 1)
    speed *= _PRECISION[str(get("precision"))] * _PADDING[str(get("padding"))]
    speed *= (1.0 if get("threads") == 2 else 0.59) * (1.22 if get("allocator") == "tuned" else 1.0)
    speed *= (1 + 0.06 * math.log2(float(micro) / 4)) / (0.12 + 0.88 * remaining)
    speed *= {0: 1.0, 1: 1.07, 3: 1.63}[int(get("freeze_layers"))] * rng.gauss(1, 0.03)
    rate = float(get("learning_rate")) * (1 if get("optimizer") != "sgd" else 0.1)
    distance = abs(math.log10(rate / 1.6e-4 * 8 / float(get("batch_size")) ** 1.0 * 2))
    score = (
        0.79
        - 0.06 * distance**1.5
        - 0.22 * (1 - remaining) ** 3
        - 0.012 * int(get("freeze_layers"))
    )
    score += rng.gauss(0, 0.006) - (0.008 if get("precision") == "bf16-pure" else 0)
    seconds = 1600 / speed + 2.5
    memory = 0.7 + (0.028 if get("precision") == "fp32" else 0.018) * float(micro) * (
        0.3 + remaining
    )
    return {
        SPEED: speed,
        "train_seconds": seconds,
        ACCURACY: min(max(score, 0.2), 0.99),
        "f1": min(max(score - 0.012, 0.2), 0.99),
        "inference_latency_ms": 14
        * (0.2 + 0.8 * remaining)
        / (6 if gpu else 1)
        * rng.gauss(1, 0.02),
        "inference_samples_per_second": speed * 3.1,
        MEMORY: memory,
        "model_size_mib": 86.6 * (0.5 + 0.5 * remaining),
        COST: seconds * (2.1 if gpu else 0.025 * float(get("threads"))) / 3600,
        "reference_seconds": rng.gauss(0.42, 0.015),
    }


def _result(
    values: Mapping[str, float], rng: random.Random, environment: dict[str, Any]
) -> TrialResult:
    steps = 200
    curve = tuple(
        CurvePoint(
            step, steps, step * 8, values["train_seconds"] * step / steps,
            1.6 * math.exp(-2.2 * step / steps) + rng.gauss(0.25, 0.02),
            {ACCURACY: values[ACCURACY] * (1 - 0.5 * math.exp(-4 * step / steps))}
            if step % 50 == 0 else {},
        )
        for step in range(25, steps + 1, 25)
    )  # fmt: skip
    memory = tuple(
        (float(s), values[MEMORY] * (0.4 + 0.6 * min(s / 4, 1)) * rng.uniform(0.97, 1.0))
        for s in range(0, max(int(values["train_seconds"]), 2), 1)
    )
    events = (
        Event(START, "phase", "loading builtin:minilm"),
        Event(START + timedelta(seconds=2), "phase", "training"),
        Event(START + timedelta(seconds=9), "phase", "evaluating on 600 examples"),
    )
    return TrialResult(
        {name: _measurement(name, value, rng) for name, value in values.items()},
        curve,
        memory[:60],
        events,
        environment,
        {"model": "runs/bert/0000/model"},
        "step 25 loss 1.45\nstep 200 loss 0.41\nevaluated 600 examples\n",
    )


def _measurement(name: str, value: float, rng: random.Random) -> Measurement:
    unit = METRICS[name].unit
    if name in (ACCURACY, "f1"):
        half = 1.96 * math.sqrt(value * (1 - value) / 600)
        return Measurement(name, value, unit, 600, (value - half, min(value + half, 1.0)))
    if name in (SPEED, "inference_latency_ms", "inference_samples_per_second"):
        samples = tuple(value * rng.gauss(1, 0.05) for _ in range(12))
        half = 0.03 * value
        warmup = (value * 0.6, value * 0.9)
        return Measurement(name, value, unit, 12, (value - half, value + half), samples, warmup)
    return Measurement(name, value, unit)


def write(store: SqlStore, study: Study, trials: Sequence[Trial]) -> None:
    """Write a study and its trials, with their own times, in one transaction."""
    store.create_study(study, environment(study))
    with store._database.transaction(write=True) as connection:
        key = connection.scalar(select(StudyRow.id).where(StudyRow.name == study.name))
        assert key is not None
        rows = [_trial_row(key, trial) for trial in trials]
        if not rows:
            return
        connection.execute(insert(TrialRow), rows)
        where = TrialRow.study_id == key
        ids = dict(connection.execute(select(TrialRow.number, TrialRow.id).where(where)).all())
        for table, entries in _children(trials, ids).items():
            if entries:
                connection.execute(insert(table), entries)
        study_update = update(StudyRow).where(StudyRow.id == key)
        connection.execute(study_update.values(revision=len(rows), changed_at=START))


def _trial_row(key: int, trial: Trial) -> dict[str, Any]:
    return {
        "study_id": key,
        "number": trial.number,
        "state": trial.state.value,
        "seed": trial.seed,
        "origin": trial.origin,
        "failure": trial.failure,
        "reason": trial.reason,
        "started_at": trial.started_at,
        "finished_at": trial.finished_at,
        "heartbeat_at": trial.finished_at or trial.started_at,
        "driver": "example:1",
        "revision": trial.number + 1,
        **codec.strategy_fields(trial.strategy),
        **codec.result_fields(trial.result),
    }


def _children(
    trials: Sequence[Trial], ids: Mapping[int, int]
) -> dict[type[Any], list[dict[str, Any]]]:
    rows: dict[type[Any], list[dict[str, Any]]] = {
        MeasurementRow: [], CurvePointRow: [], EventRow: [], MemoryTimelineRow: [],
    }  # fmt: skip
    for trial in trials:
        own, result = {"trial_id": ids[trial.number]}, trial.result
        for measurement in result.measurements.values():
            rows[MeasurementRow].append({**own, **codec.measurement_fields(measurement)})
        for position, point in enumerate(result.curve):
            rows[CurvePointRow].append({**own, "position": position, **codec.point_fields(point)})
        for position, event in enumerate(result.events):
            rows[EventRow].append({**own, "position": position, **codec.event_fields(event)})
        if result.memory:
            rows[MemoryTimelineRow].append({**own, "points": codec.to_json(result.memory)})
    return rows


def environment(study: Study) -> dict[str, Any]:
    """An environment as a search records it."""
    gpu = study.space.defaults["device"] != "cpu"
    return {
        "fingerprint": "gpu-box" if gpu else "two-core-box",
        "git_commit": "0123abc",
        "packages": {"autotune": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "hardware": {
            "cpu": "Example CPU, 2 cores",
            "memory_gib": 8.0,
            "devices": [
                {"id": study.space.defaults["device"], "name": "Example GPU" if gpu else None}
            ],
        },
    }
