"""What the driver costs beside the trials: ask, start, report and tell at 1,000 stored trials.

Usage: python benchmarks/driver_overhead.py [--trials 1000] [--cycles 30] [--sampler KIND] [--json]

A study in the shape of ``bert.yaml`` is filled in a fresh SQLite file; then a real tuner runs
``--cycles`` trials whose evaluation costs nothing, on an executor that calls it in place, so that
all the time is the driver's.
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
    SamplerChoice,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
    WorkloadProfile,
)
from autotune.domain.metrics import METRICS
from autotune.hardware import inventory
from autotune.ports import Ask, Clock, Evaluate, Report, ShouldStop, Tell
from autotune.search.samplers.registry import make_sampler
from autotune.search.tuner import make_tuner
from autotune.store import open_store
from autotune.trial.workload import profile_workload

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
        sampler=SamplerChoice(sampler),
        prices=replace(study.prices, cpu_core=0.04),
    )
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/overhead.db")
        store.create_study(study, {})
        fill(store, study, trials)
        executor = Inline()
        tuner = make_tuner(
            study, store, make_sampler(study, profile_workload(study.task)), executor, host,
            directory=Path(folder), observer=Silent(),
        )  # fmt: skip
        tuner.run(outcome_of)
        store.close()
    spent = executor.seconds[1:]  # the first ask reads the whole history
    return {
        "sampler": sampler,
        "trials": trials,
        "median_ms": 1000 * median(spent),
        "p95_ms": 1000 * quantiles(spent, n=20)[-1],
        "first_ms": 1000 * executor.seconds[0],
    }


def fill(store: Any, study: Study, trials: int) -> None:
    """``trials`` finished trials at random places of the space."""
    chance = make_sampler(replace(study, sampler=SamplerChoice("random", 1)))
    history: list[Trial] = []
    for number in range(trials):
        strategy = study.baseline if number == 0 else chance.ask(history)
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
    """A completed trial with every metric, a few raw samples each, and one report on the way."""
    report(CurvePoint(1, 2, 8, 1.0, 0.5))
    pruned = 1 + float(job.strategy["pruning_ratio"])
    speed = 20.0 * pruned * (1 + int(job.strategy["threads"]))
    accuracy = 0.8 - 0.1 * pruned - abs(float(job.strategy["learning_rate"]) - 2e-4)
    known = {"train_samples_per_second": speed, "accuracy": accuracy, "cost_usd": 1 / speed}
    return Completed(TrialResult({
        name: Measurement(name, value := known.get(name, speed), metric.unit, 20,
                          (0.9 * value, 1.1 * value), (value,) * 20)
        for name, metric in METRICS.items()
    }))  # fmt: skip


class Inline:
    """Calls each evaluation in place and keeps the time of everything else, in seconds."""

    clock: Clock | None = None
    workload: WorkloadProfile | None = None

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, advise: ShouldStop) -> None:
        while True:
            begun = time.perf_counter()
            job = ask()
            if job is None:
                return
            tell(job, evaluate(job, lambda point, job=job: advise(job, point)))
            self.seconds.append(time.perf_counter() - begun)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def stop(self) -> None:
        """Nothing runs beside the driver."""

    def close(self) -> None:
        """There is no process to end."""


class Silent:
    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...
    def finished(self, trial: Trial) -> None: ...


if __name__ == "__main__":
    main()
