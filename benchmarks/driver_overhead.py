"""Overhead of the driver per trial: ask, start, report and tell with 1,000 stored trials.

Usage: python benchmarks/driver_overhead.py [--trials 1000] [--cycles 30] [--sampler KIND] [--json]

A study like ``bert.yaml`` is filled with trials in a new SQLite file. Then a real tuner runs
``--cycles`` trials whose evaluation takes no time, on an executor that calls it in the same
process, so that all time is spent in the driver.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from autotune import spec
from autotune.domain import (
    Budget,
    Completed,
    CurvePoint,
    Job,
    Measurement,
    Outcome,
    SamplerConfig,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
    WorkloadProfile,
)
from autotune.domain.metrics import METRICS
from autotune.hardware import inventory
from autotune.ports import Ask, Clock, Evaluate, Report, ShouldStop, Tell
from autotune.store import open_store
from autotune.trial.workload import profile_workload
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--cycles", type=int, default=30)
    parser.add_argument("--sampler", default="factored")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.trials, options.cycles, options.sampler)
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{options.sampler} at {options.trials} trials: ask + tell + store "
              f"{result['median_ms']:.1f} ms (p95 {result['p95_ms']:.1f} ms)")  # fmt: skip


def measure(trials: int, cycles: int, sampler: str) -> dict[str, Any]:
    host = inventory()
    study = spec.load(ROOT / "search_spaces" / "bert.yaml", host=host).study
    study = replace(
        study,
        budget=Budget(trials=trials + cycles),
        sampler=SamplerConfig(sampler),
        prices=replace(study.prices, cpu_core=0.04),
    )
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/overhead.db")
        store.create_study(study, {})
        fill(store, study, trials)
        executor = InlineExecutor()
        tuner = make_tuner(
            study, store, make_sampler(study, profile_workload(study.task)), executor, host,
            directory=Path(folder), observer=SilentObserver(),
        )  # fmt: skip
        tuner.run(outcome_of)
        store.close()
    seconds = executor.seconds[1:]  # the first ask reads the complete history
    return {
        "sampler": sampler,
        "trials": trials,
        "median_ms": 1000 * median(seconds),
        "p95_ms": 1000 * quantiles(seconds, n=20)[-1],
        "first_ms": 1000 * executor.seconds[0],
    }


def fill(store: Any, study: Study, trials: int) -> None:
    """Store ``trials`` finished trials with random strategies."""
    sampler = make_sampler(replace(study, sampler=SamplerConfig("random", 1)))
    history: list[Trial] = []
    for number in range(trials):
        strategy = study.baseline if number == 0 else sampler.ask(history)
        assert strategy is not None
        started = store.start(
            study.name,
            strategy,
            origin=TrialOrigin.DEFAULT if number == 0 else TrialOrigin.SAMPLED,
            seed=0,
        )
        job = Job(study.name, number, strategy, study.task, 0, resources=None, limits=study.limits,
                  directory="")  # type: ignore[arg-type]  # fmt: skip
        history.append(store.finish(study.name, started.number, outcome_of(job, lambda _: None)))


def outcome_of(job: Job, report: Report) -> Outcome:
    """A complete trial with every metric, 20 raw samples each, and one reported point."""
    report(CurvePoint(1, 2, 8, 1.0, 0.5))
    pruned = 1 + float(job.strategy["pruning_ratio"])
    speed = 20.0 * pruned * (1 + int(job.strategy["threads"]))
    accuracy = 0.8 - 0.1 * pruned - abs(float(job.strategy["learning_rate"]) - 2e-4)
    values = {"train_samples_per_second": speed, "accuracy": accuracy, "cost_usd": 1 / speed}
    return Completed(TrialResult({
        name: Measurement(name, value := values.get(name, speed), metric.unit, 20,
                          (0.9 * value, 1.1 * value), (value,) * 20)
        for name, metric in METRICS.items()
    }))  # fmt: skip


class InlineExecutor:
    """Evaluates jobs in the same process, and records the seconds of each cycle."""

    clock: Clock | None = None
    workload: WorkloadProfile | None = None

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        while True:
            start = time.perf_counter()
            job = ask()
            if job is None:
                return
            tell(job, evaluate(job, lambda point, job=job: should_stop(job, point)))
            self.seconds.append(time.perf_counter() - start)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def stop(self) -> None:
        """Do nothing: no job runs concurrently with the driver."""

    def close(self) -> None:
        """Do nothing: there is no process to end."""


class SilentObserver:
    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...
    def finished(self, trial: Trial) -> None: ...


if __name__ == "__main__":
    main()
