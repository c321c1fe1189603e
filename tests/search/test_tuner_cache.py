"""The loop with a trial in two halves: what is known is not run, the hopeless is stopped."""

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
    SamplerChoice,
    State,
    Study,
    TrialOrigin,
    TrialResult,
)
from autotune.ports import Report
from autotune.search.samplers.registry import make_sampler
from autotune.search.tuner import make_tuner
from autotune.store import SqlStore, open_store
from tests.search.small_study import HOST, InlineExecutor, RecordingObserver, measure

SPEED = ("train_samples_per_second", "setup_seconds")
TRAINING = ("accuracy", "train_samples")


@pytest.fixture
def grid(study: Study) -> Study:
    """Three batch sizes under two thread counts and two rates: 12 strategies, 6 trainings, 6
    speeds."""
    dimensions = (
        Dimension("threads", Categorical((1, 2))),
        Dimension("batch_size", Categorical((8, 16, 32))),
        Dimension("learning_rate", Categorical((5e-5, 4e-4))),
    )
    return replace(
        study,
        space=replace(study.space, dimensions=dimensions),
        sampler=SamplerChoice("grid"),
        constraints=(),
        budget=Budget(trials=100),
    )


class Workshop:
    """Runs jobs by a formula, half by half, and remembers which halves it ran."""

    def __init__(self) -> None:
        self.ran: list[tuple[int, str]] = []

    def __call__(self, job: Job, report: Report) -> Outcome:
        found = {**measure(job.strategy), "setup_seconds": 1.0, "train_samples": 800.0}
        kept: dict[str, Measurement] = {}
        for part, names in ((Phase.PROFILE, SPEED), (Phase.TRAIN, TRAINING)):
            if part not in job.phases:
                continue
            self.ran.append((job.trial, part))
            kept |= {name: Measurement(name, found[name], "x") for name in names}
            point = CurvePoint(25, 100, 200, 1.0, 0.5, {n: found[n] for n in names[:1]})
            if reason := report(point):
                return Pruned(reason, TrialResult(kept))
        return Completed(TrialResult(kept))

    def count(self, part: str) -> int:
        return sum(name == part for _, name in self.ran)


def search(study: Study, store: SqlStore, folder: Path, **options: Any) -> tuple[Workshop, Any]:
    shop = Workshop()
    store.create_study(study, {})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST,
        directory=folder, observer=RecordingObserver(), **options,
    )  # fmt: skip
    tuner.run(shop)
    return shop, store.trials(study.name)


def test_every_fact_is_measured_once(grid: Study, store: SqlStore, tmp_path: Path) -> None:
    shop, trials = search(replace(grid, stopping="none"), store, tmp_path)
    assert len(trials) == 12 and all(t.state is State.COMPLETE for t in trials)
    assert shop.count(Phase.PROFILE) == 6
    assert shop.count(Phase.TRAIN) == 6
    for trial in trials:
        expected = measure(trial.strategy)
        assert trial.metric("accuracy") == pytest.approx(expected["accuracy"])
        assert trial.metric("train_samples_per_second") == pytest.approx(
            expected["train_samples_per_second"]
        )


def test_without_sharing_every_trial_is_whole(grid: Study, store: SqlStore, tmp_path: Path) -> None:
    shop, _ = search(replace(grid, sharing=False, stopping="none"), store, tmp_path)
    assert shop.count(Phase.PROFILE) == shop.count(Phase.TRAIN) == 12


def test_what_is_put_together_costs_no_trial(grid: Study, store: SqlStore, tmp_path: Path) -> None:
    few = replace(grid, stopping="none", budget=Budget(trials=7))
    shop, trials = search(few, store, tmp_path)
    whole = [t for t in trials if any(m.source is None for m in t.result.measurements.values())]
    assert len(whole) == 7
    assert {number for number, _ in shop.ran} == {t.number for t in whole}


def test_a_resumed_search_shares_with_what_was_before(
    grid: Study, store: SqlStore, tmp_path: Path
) -> None:
    short = replace(grid, stopping="none", budget=Budget(trials=4))
    first, _ = search(short, store, tmp_path)
    shop = Workshop()
    again = make_tuner(
        replace(short, budget=Budget(trials=100)), store, make_sampler(short), InlineExecutor(),
        HOST, directory=tmp_path, observer=RecordingObserver(),
    )  # fmt: skip
    again.run(shop)
    assert first.count(Phase.PROFILE) + shop.count(Phase.PROFILE) == 6
    assert first.count(Phase.TRAIN) + shop.count(Phase.TRAIN) == 6


def test_the_probe_stops_what_no_accuracy_could_save(
    grid: Study, store: SqlStore, tmp_path: Path
) -> None:
    def ceiling(strategy: Any, metric: str, history: Any, deviations: float) -> float:
        return 0.0

    shop, trials = search(grid, store, tmp_path, score_bound=ceiling)
    stopped = [t for t in trials if t.state is State.PRUNED]
    assert stopped and all("dominated by trial" in (t.reason or "") for t in stopped)
    trained = {number for number, part in shop.ran if part == Phase.TRAIN}
    assert trained.isdisjoint(t.number for t in stopped)
    assert not any(t.origin == TrialOrigin.DEFAULT for t in stopped)


def test_the_same_trials_are_stopped_whoever_drives(
    grid: Study, store: SqlStore, tmp_path: Path
) -> None:
    """Stopping is a function of the store: a second driver decides as the first one did."""
    _, trials = search(replace(grid, sharing=False), store, tmp_path)
    reasons = {t.number: t.reason for t in trials}
    other = open_store(f"sqlite:///{tmp_path}/other.db")
    _, again = search(replace(grid, sharing=False), other, tmp_path)
    other.close()
    assert {t.number: t.reason for t in again} == reasons
