"""Searches over a recorded landscape, and how good they are: for the benchmarks of the search,
``compare_searchers`` and ``stopping``.
"""

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
    SamplerChoice,
    State,
    Strategy,
    Study,
    Trial,
    TrialResult,
    WorkloadProfile,
)
from autotune.domain.metrics import METRICS
from autotune.execution.replay.benchmark import Record, TabularBenchmark
from autotune.execution.replay.executor import ReplayExecutor
from autotune.levers import hourly_usd, profile_key, training_key
from autotune.ports import Report
from autotune.search.samplers.registry import make_sampler
from autotune.search.tuner import make_tuner
from autotune.store import open_store

ENOUGH = 0.995
"""Share of the exhaustive hypervolume at which a search has nothing left to show."""

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Step:
    """A trial that ended when the search had taken so many simulated ``seconds``, and had
    ``thought`` for so many of a CPU. ``trained`` are its seconds of training steps."""

    seconds: float
    strategy: Strategy
    thought: float = 0.0
    trained: float = 0.0


@dataclass
class Walk:
    """What a search did: the trials that gave it all numbers of a strategy, those that it stopped
    early (or that could not run), the simulated seconds of all, and the CPU seconds that thinking
    of each proposal took."""

    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0
    asked: list[float] = field(default_factory=list)
    stopped: list[Step] = field(default_factory=list)


class Scorer:
    """Knows the whole landscape, and how much of its hypervolume a walk has reached.

    What a strategy is worth is the median over all trials that measured it, each number over those
    that share it: one lucky window does not make a front. A searcher sees what one trial measured.
    With ``as_recorded``, a strategy is worth what its own trial measured.
    """

    def __init__(self, landscape: TabularBenchmark, *, as_recorded: bool = False) -> None:
        self.landscape = landscape
        self.study = spec.load(landscape.spec, host=landscape.host).study
        records = [_of_today(r, self.study) for r in landscape.records
                   if r.seed == self.study.task.seed]  # fmt: skip
        self.exhaustive_seconds = sum(record.seconds for record in records)
        complete = [record for record in records if record.state is State.COMPLETE]
        worth = _as_recorded(complete) if as_recorded else _medians(self.study, complete, landscape)
        self.trials = {r.strategy.key: _trial(r, worth[r.strategy.key]) for r in complete}
        self._points = self._scaled()
        front = IncrementalHypervolume(len(self.study.objectives))
        for point in self._points.values():
            front.add(point)
        self.volume = front.volume
        self.best = {key for key, p in self._points.items() if (front.points == p).all(1).any()}
        """Keys of the strategies on the front."""

    def _scaled(self) -> Mapping[str, np.ndarray]:
        """Points of the feasible strategies over the reference, in units of the default."""
        trials = list(self.trials.values())
        default = self.trials[self.study.baseline.key]
        frames = [reference_and_unit(self.study, objective, default) for objective in self.study.objectives]
        reference, unit = np.array(frames, dtype=float).T
        members = feasible_trials(self.study, trials)
        points = (signed_objectives(self.study, members) - reference) / unit
        return {trial.strategy.key: point for trial, point in zip(members, points, strict=True)}

    def progress(self) -> Callable[[Strategy], float]:
        """Takes strategies one by one; gives the share of the hypervolume reached."""
        front = IncrementalHypervolume(len(self.study.objectives))

        def add(strategy: Strategy) -> float:
            point = self._points.get(strategy.key)
            if point is not None:
                front.add(point)
            return front.volume / self.volume

        return add

    def reached(self, steps: Iterable[Step]) -> list[tuple[float, float]]:
        """(seconds, share of the hypervolume) after each step."""
        add = self.progress()
        return [(step.seconds, add(step.strategy)) for step in steps]

    def seconds_to(self, share: float, steps: Iterable[Step]) -> float | None:
        """Simulated seconds until the share was reached, ``None`` where it never was."""
        return next((at for at, now in self.reached(steps) if now >= share), None)


def _of_today(record: Record, study: Study) -> Record:
    """The record with levers at their default that did not exist when it was made."""
    return replace(record, strategy=Strategy({**study.space.defaults, **record.strategy.values}))


def _as_recorded(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    return {r.strategy.key: {n: m.value for n, m in r.measurements.items()} for r in records}


def _medians(
    study: Study, records: Sequence[Record], landscape: TabularBenchmark
) -> dict[str, dict[str, float]]:
    """Values by strategy: medians over its speed group and its training group, and the time and
    money of the whole run from those."""
    keys = {Phase.PROFILE: profile_key, Phase.TRAIN: training_key}
    seen: dict[tuple[str, str], list[float]] = {}
    for record in records:
        for name, found in record.measurements.items():
            if (key := keys.get(METRICS[name].phase)) is not None:
                seen.setdefault((name, key(record.strategy)), []).append(found.value)
    worth = {}
    for record in records:
        values = {
            name: median(seen[name, key(record.strategy)])
            for name in record.measurements
            if (key := keys.get(METRICS[name].phase)) is not None
        }
        seconds = values["train_samples"] / values["train_samples_per_second"]
        values["train_seconds"] = values["setup_seconds"] + seconds
        price = hourly_usd(record.strategy, landscape.host, study.prices)
        if price is not None:
            values["cost_usd"] = price * values["train_seconds"] / 3600
        worth[record.strategy.key] = values
    return worth


def _trial(record: Record, values: Mapping[str, float]) -> Trial:
    numbers = {name: Measurement(name, v, METRICS[name].unit) for name, v in values.items()}
    return Trial(0, State.COMPLETE, record.strategy, result=TrialResult(numbers))


# ------------------------------------------------------------------------------------- our search


class _Watch:
    """Notes the steps of a search, and ends it when there is nothing left to find."""

    def __init__(self, judge: Scorer, executor: ReplayExecutor, enough: float) -> None:
        self.walk = Walk()
        self._add, self._clock, self._enough = judge.progress(), executor.clock, enough
        self.stop: Callable[[str], None] = lambda reason: None

    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...

    def finished(self, trial: Trial) -> None:
        curve = trial.result.curve
        trained = curve[-1].seconds if curve else 0.0
        step = Step(self._clock.seconds, trial.strategy, sum(self.walk.asked), trained)
        self.walk.seconds = self._clock.seconds
        if trial.state is State.COMPLETE:
            self.walk.steps.append(step)
            if self._add(trial.strategy) >= self._enough:
                self.stop("enough")
        else:
            self.walk.stopped.append(step)


class _Timed:
    """A sampler, and how long it thinks."""

    def __init__(self, study: Study, anatomy: WorkloadProfile | None, walk: Walk) -> None:
        self.sampler, self._walk = make_sampler(study, anatomy), walk

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        begun = time.process_time()
        strategy = self.sampler.ask(history)
        self._walk.asked.append(time.process_time() - begun)
        return strategy


def ours(
    judge: Scorer,
    sampler: str,
    seed: int,
    *,
    sharing: bool = True,
    stopping: str = "optimistic",
    enough: float = ENOUGH,
    budget: Budget | None = None,
) -> Walk:
    """One search of this project as it is, over the landscape."""
    study = replace(
        judge.study, sampler=SamplerChoice(sampler, seed), sharing=sharing,
        stopping=stopping, budget=budget or Budget(trials=100_000),
    )  # fmt: skip
    executor = ReplayExecutor(judge.landscape)
    watch = _Watch(judge, executor, enough)
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as folder:
        store = open_store(f"sqlite:///{folder}/replay.db", clock=executor.clock)
        store.create_study(study, {})
        timed = _Timed(study, judge.landscape.workload, watch.walk)
        tuner = make_tuner(
            study, store, timed, executor, judge.landscape.host,
            directory=Path(folder), observer=watch, clock=executor.clock,
        )  # fmt: skip
        watch.stop = tuner.stop
        tuner.run(never)
        store.close()
    return watch.walk


def never(job: Job, report: Report) -> Outcome:
    """What runs trials elsewhere; nothing runs in a replay."""
    raise AssertionError(f"trial {job.trial} was to be run for real")


def _quick_folder() -> str | None:
    """Memory, where the system offers some as a folder: a store commits several times a trial."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
