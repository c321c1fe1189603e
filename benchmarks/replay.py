"""Runs and scores searches over a tabular benchmark, for ``compare_searchers`` and ``stopping``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from autotune import spec
from autotune.analysis.front import feasible_trials, signed_objectives
from autotune.analysis.hypervolume import IncrementalHypervolume, reference_and_unit
from autotune.domain import (
    Budget,
    CurvePoint,
    Job,
    Measurement,
    Outcome,
    Phase,
    SamplerConfig,
    State,
    Strategy,
    Study,
    Trial,
    TrialResult,
)
from autotune.domain.metrics import METRICS
from autotune.execution.replay.benchmark import Record, TabularBenchmark
from autotune.execution.replay.executor import ReplayExecutor
from autotune.levers import hourly_usd, profile_key, training_key
from autotune.ports import Report
from autotune.store import open_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner

TARGET_SHARE = 0.995
"""Share of the hypervolume of all strategies at which a search ends."""

CONSTRAINED_TARGET, MAX_COST_SHARE = 0.95, 0.6
"""With a constraint a search ends at this share both of the hypervolume and of the best feasible
speed, or when it has cost this share of the time of all strategies."""

SPEED = "train_samples_per_second"
"""The metric whose best feasible value is sought on a landscape with a constraint."""

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TraceStep:
    """A finished trial. ``seconds`` is the simulated time of the search at its end, ``ask_seconds``
    the CPU time of all proposals so far, ``training_seconds`` the time of its training steps."""

    seconds: float
    strategy: Strategy
    ask_seconds: float = 0.0
    training_seconds: float = 0.0


@dataclass
class SearchTrace:
    """What a search did: its complete trials, its stopped or infeasible trials, the simulated
    seconds of all, and the CPU seconds of each proposal."""

    steps: list[TraceStep] = field(default_factory=list)
    seconds: float = 0.0
    ask_seconds: list[float] = field(default_factory=list)
    stopped: list[TraceStep] = field(default_factory=list)


class Scorer:
    """The shares of the benchmark's hypervolume, and of its best speed among the strategies that
    satisfy the constraints, which a search trace has reached.

    A strategy is scored by medians over all records of its profile group and its training group,
    whatever their seed, so that one lucky measurement does not change the front. A search sees
    single records. With ``as_recorded``, a strategy is scored by its own record.
    """

    def __init__(self, landscape: TabularBenchmark, *, as_recorded: bool = False) -> None:
        self.landscape = landscape
        self.study = spec.load(landscape.spec, host=landscape.host).study
        all_records = [_complete_record(record, self.study) for record in landscape.records]
        records = [r for r in all_records if r.seed == self.study.task.seed]
        self.exhaustive_seconds = sum(record.seconds for record in records)
        complete = [record for record in records if record.state is State.COMPLETE]
        replicates = [record for record in all_records if record.state is State.COMPLETE]
        values = (
            _as_recorded(complete)
            if as_recorded
            else _medians(self.study, complete, replicates, landscape)
        )
        self.trials = {
            record.strategy.key: _trial(number, record, values[record.strategy.key])
            for number, record in enumerate(complete)
        }
        default = self.trials[self.study.baseline.key]
        self.frames = [
            reference_and_unit(self.study, objective, default)
            for objective in self.study.objectives
        ]
        """For each objective the reference point and the unit of the hypervolume."""
        self._points = self._scaled()
        front = IncrementalHypervolume(len(self.study.objectives))
        for point in self._points.values():
            front.add(point)
        self.volume = front.volume
        self.best = {key for key, p in self._points.items() if (front.points == p).all(1).any()}
        """Keys of the strategies on the front."""
        self.speeds = {key: self.trials[key].metric(SPEED) or 0.0 for key in self._points}
        """Training speeds of the strategies that satisfy all constraints, by key."""
        self.best_speed = max(self.speeds.values())

    @property
    def is_constrained(self) -> bool:
        return bool(self.study.constraints)

    def _scaled(self) -> Mapping[str, np.ndarray]:
        """Objectives of the feasible strategies relative to the reference point, in units of the
        default."""
        reference, unit = np.array(self.frames, dtype=float).T
        members = feasible_trials(self.study, list(self.trials.values()))
        points = (signed_objectives(self.study, members) - reference) / unit
        return {trial.strategy.key: point for trial, point in zip(members, points, strict=True)}

    def progress(self) -> Callable[[Strategy], float]:
        """A function that adds a strategy and returns the share of the hypervolume reached."""
        front = IncrementalHypervolume(len(self.study.objectives))

        def add(strategy: Strategy) -> float:
            point = self._points.get(strategy.key)
            if point is not None:
                front.add(point)
            return front.volume / self.volume

        return add

    def speed_progress(self) -> Callable[[Strategy], float]:
        """A function that adds a strategy and returns the share of the best feasible speed."""
        speed = 0.0

        def add(strategy: Strategy) -> float:
            nonlocal speed
            speed = max(speed, self.speeds.get(strategy.key, 0.0))
            return speed / self.best_speed

        return add

    def ending(self, target: float) -> Callable[[Strategy, float], bool]:
        """A function that adds a strategy and returns whether a search has reached its end: the
        ``target``, or with a constraint also the limits of one."""
        volume, speed = self.progress(), self.speed_progress()
        max_seconds = MAX_COST_SHARE * self.exhaustive_seconds

        def add(strategy: Strategy, seconds: float) -> bool:
            shares = volume(strategy), speed(strategy)
            if not self.is_constrained:
                return shares[0] >= target
            return min(shares) >= min(target, CONSTRAINED_TARGET) or seconds >= max_seconds

        return add

    def shares(self, steps: Iterable[TraceStep]) -> list[tuple[float, float]]:
        """(seconds, share of the hypervolume) after each step."""
        add = self.progress()
        return [(step.seconds, add(step.strategy)) for step in steps]

    def speed_shares(self, steps: Iterable[TraceStep]) -> list[tuple[float, float]]:
        """(seconds, share of the best feasible speed) after each step."""
        add = self.speed_progress()
        return [(step.seconds, add(step.strategy)) for step in steps]

    def seconds_to(self, share: float, steps: Iterable[TraceStep]) -> float | None:
        """Simulated seconds until the share was reached; ``None`` if it never was."""
        return next((seconds for seconds, s in self.shares(steps) if s >= share), None)


def _complete_record(record: Record, study: Study) -> Record:
    """The record with defaults for levers that did not exist when it was made."""
    return replace(record, strategy=Strategy({**study.space.defaults, **record.strategy.values}))


def _as_recorded(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    return {r.strategy.key: {n: m.value for n, m in r.measurements.items()} for r in records}


def _medians(
    study: Study,
    records: Sequence[Record],
    replicates: Sequence[Record],
    landscape: TabularBenchmark,
) -> dict[str, dict[str, float]]:
    """Values by strategy of ``records``: medians over its profile group and its training group
    among ``replicates``, and the time and cost of the full training run that follow from them."""
    keys = {Phase.PROFILE: profile_key, Phase.TRAIN: training_key}
    samples: dict[tuple[str, str], list[float]] = {}
    for record in replicates:
        for name, measurement in record.measurements.items():
            if (key := keys.get(METRICS[name].phase)) is not None:
                samples.setdefault((name, key(record.strategy)), []).append(measurement.value)
    medians = {}
    for record in records:
        values = {
            name: median(samples[name, key(record.strategy)])
            for name in record.measurements
            if (key := keys.get(METRICS[name].phase)) is not None
        }
        seconds = values["train_samples"] / values["train_samples_per_second"]
        values["train_seconds"] = values["setup_seconds"] + seconds
        price = hourly_usd(record.strategy, landscape.host, study.prices)
        if price is not None:
            values["cost_usd"] = price * values["train_seconds"] / 3600
        medians[record.strategy.key] = values
    return medians


def _trial(number: int, record: Record, values: Mapping[str, float]) -> Trial:
    measurements = {name: Measurement(name, v, METRICS[name].unit) for name, v in values.items()}
    return Trial(number, State.COMPLETE, record.strategy, result=TrialResult(measurements))


# -------------------------------------------------------------------------- search with autotune


class _TraceObserver:
    """Records the trace of a search and ends it at the target."""

    def __init__(self, scorer: Scorer, executor: ReplayExecutor, target: float) -> None:
        self.trace = SearchTrace()
        self._has_ended, self._clock = scorer.ending(target), executor.clock
        self.stop: Callable[[str], None] = lambda reason: None

    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...

    def finished(self, trial: Trial) -> None:
        curve = trial.result.curve
        training_seconds = curve[-1].seconds if curve else 0.0
        ask_seconds = sum(self.trace.ask_seconds)
        step = TraceStep(self._clock.seconds, trial.strategy, ask_seconds, training_seconds)
        self.trace.seconds = self._clock.seconds
        if trial.state is State.COMPLETE:
            self.trace.steps.append(step)
            if self._has_ended(trial.strategy, step.seconds):
                self.stop("target reached")
        else:
            self.trace.stopped.append(step)


class _TimedSampler:
    """Measures the CPU time of each proposal."""

    def __init__(self, study: Study, trace: SearchTrace) -> None:
        self.sampler, self._trace = make_sampler(study, study.workload), trace

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        start = time.process_time()
        strategy = self.sampler.ask(history)
        self._trace.ask_seconds.append(time.process_time() - start)
        return strategy


def run_autotune(
    scorer: Scorer,
    sampler: str,
    seed: int,
    *,
    sharing: bool = True,
    stopping: str = "optimistic",
    target: float = TARGET_SHARE,
    budget: Budget | None = None,
) -> SearchTrace:
    """A search with autotune over the benchmark."""
    config = SamplerConfig(sampler, seed, scorer.study.sampler.recipes)
    study = replace(
        scorer.study, sampler=config, sharing=sharing, workload=scorer.landscape.workload,
        stopping=stopping, budget=budget or Budget(trials=100_000),
    )  # fmt: skip
    executor = ReplayExecutor(scorer.landscape)
    observer = _TraceObserver(scorer, executor, target)
    with tempfile.TemporaryDirectory(dir=_temporary_directory()) as folder:
        store = open_store(f"sqlite:///{folder}/replay.db", clock=executor.clock)
        store.create_study(study, {})
        timed_sampler = _TimedSampler(study, observer.trace)
        tuner = make_tuner(
            study, store, timed_sampler, executor, scorer.landscape.host,
            directory=Path(folder), observer=observer, clock=executor.clock,
            replicates=False,  # a landscape has one seed
        )  # fmt: skip
        observer.stop = tuner.stop
        tuner.run(fail_if_run)
        store.close()
    return observer.trace


def fail_if_run(job: Job, report: Report) -> Outcome:
    """The trial function: a replay runs no trials."""
    raise AssertionError(f"trial {job.trial} must not run")


def _temporary_directory() -> str | None:
    """A directory in memory if there is one, since the store commits several times per trial."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
