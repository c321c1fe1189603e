"""The loop with trials of two phases: cached phases are not run, dominated trials are stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import (
    Budget,
    Categorical,
    Completed,
    CurvePoint,
    Dimension,
    Job,
    Measurement,
    Outcome,
    Phase,
    Pruned,
    SamplerConfig,
    State,
    Study,
    TrialOrigin,
    TrialResult,
)
from autotune.ports import Report
from autotune.store import SqlStore, open_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver, measure

PROFILE_METRICS = ("train_samples_per_second", "setup_seconds")
TRAIN_METRICS = ("accuracy", "train_samples")


@pytest.fixture
def grid(study: Study) -> Study:
    """Three batch sizes, two thread counts and two learning rates: 12 strategies with 6 training
    keys and 6 profile keys."""
    dimensions = (
        Dimension("threads", Categorical((1, 2))),
        Dimension("batch_size", Categorical((8, 16, 32))),
        Dimension("learning_rate", Categorical((5e-5, 4e-4))),
    )
    return replace(
        study,
        space=replace(study.space, dimensions=dimensions),
        sampler=SamplerConfig("grid"),
        constraints=(),
        budget=Budget(trials=100),
    )


class PhaseEvaluator:
    """Evaluates jobs by a formula, phase by phase, and records which phases it ran."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, str]] = []

    def __call__(self, job: Job, report: Report) -> Outcome:
        metrics = {**measure(job.strategy), "setup_seconds": 1.0, "train_samples": 800.0}
        measurements: dict[str, Measurement] = {}
        for phase, names in ((Phase.PROFILE, PROFILE_METRICS), (Phase.TRAIN, TRAIN_METRICS)):
            if phase not in job.phases:
                continue
            self.runs.append((job.trial, phase))
            measurements |= {name: Measurement(name, metrics[name], "x") for name in names}
            point = CurvePoint(25, 100, 200, 1.0, 0.5, {n: metrics[n] for n in names[:1]})
            if reason := report(point):
                return Pruned(reason, TrialResult(measurements))
        return Completed(TrialResult(measurements))

    def count(self, phase: str) -> int:
        return sum(name == phase for _, name in self.runs)


def search(
    study: Study, store: SqlStore, folder: Path, **options: Any
) -> tuple[PhaseEvaluator, Any]:
    evaluator = PhaseEvaluator()
    store.create_study(study, {})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST,
        directory=folder, observer=RecordingObserver(), **options,
    )  # fmt: skip
    tuner.run(evaluator)
    return evaluator, store.trials(study.name)


def test_each_phase_result_is_measured_once(grid: Study, store: SqlStore, tmp_path: Path) -> None:
    evaluator, trials = search(replace(grid, stopping="none"), store, tmp_path)
    assert len(trials) == 12 and all(t.state is State.COMPLETE for t in trials)
    assert evaluator.count(Phase.PROFILE) == 6
    assert evaluator.count(Phase.TRAIN) == 6
    for trial in trials:
        expected = measure(trial.strategy)
        assert trial.metric("accuracy") == pytest.approx(expected["accuracy"])
        assert trial.metric("train_samples_per_second") == pytest.approx(
            expected["train_samples_per_second"]
        )


def test_without_sharing_every_trial_runs_both_phases(
    grid: Study, store: SqlStore, tmp_path: Path
) -> None:
    evaluator, _ = search(replace(grid, sharing=False, stopping="none"), store, tmp_path)
    assert evaluator.count(Phase.PROFILE) == evaluator.count(Phase.TRAIN) == 12


def test_a_fully_cached_trial_does_not_count_against_the_budget(
    grid: Study, store: SqlStore, tmp_path: Path
) -> None:
    limited = replace(grid, stopping="none", budget=Budget(trials=7))
    evaluator, trials = search(limited, store, tmp_path)
    measured = [t for t in trials if any(m.source is None for m in t.result.measurements.values())]
    assert len(measured) == 7
    assert {number for number, _ in evaluator.runs} == {t.number for t in measured}


def test_a_resumed_search_reuses_results_of_earlier_sessions(
    grid: Study, store: SqlStore, tmp_path: Path
) -> None:
    short = replace(grid, stopping="none", budget=Budget(trials=4))
    earlier, _ = search(short, store, tmp_path)
    evaluator = PhaseEvaluator()
    tuner = make_tuner(
        replace(short, budget=Budget(trials=100)), store, make_sampler(short), InlineExecutor(),
        HOST, directory=tmp_path, observer=RecordingObserver(),
    )  # fmt: skip
    tuner.run(evaluator)
    assert earlier.count(Phase.PROFILE) + evaluator.count(Phase.PROFILE) == 6
    assert earlier.count(Phase.TRAIN) + evaluator.count(Phase.TRAIN) == 6


def test_a_dominated_trial_is_stopped_after_its_profile_phase(
    grid: Study, store: SqlStore, tmp_path: Path
) -> None:
    def score_bound(strategy: Any, metric: str, history: Any, deviations: float) -> float:
        return 0.0

    evaluator, trials = search(grid, store, tmp_path, score_bound=score_bound)
    stopped = [t for t in trials if t.state is State.PRUNED]
    assert stopped and all("dominated by trial" in (t.reason or "") for t in stopped)
    trained = {number for number, phase in evaluator.runs if phase == Phase.TRAIN}
    assert trained.isdisjoint(t.number for t in stopped)
    assert not any(t.origin == TrialOrigin.DEFAULT for t in stopped)


def test_any_driver_stops_the_same_trials(grid: Study, store: SqlStore, tmp_path: Path) -> None:
    """Early stopping is a function of the store: a second driver decides as the first one did."""
    _, trials = search(replace(grid, sharing=False), store, tmp_path)
    reasons = {t.number: t.reason for t in trials}
    other = open_store(f"sqlite:///{tmp_path}/other.db")
    _, again = search(replace(grid, sharing=False), other, tmp_path)
    other.close()
    assert {t.number: t.reason for t in again} == reasons
