"""The search loop: what runs first, what is stored, when it ends, how it continues."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from autotune.analysis.budget import BudgetUsage, typical_seconds
from autotune.domain import (
    Budget,
    Completed,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    Limits,
    Measurement,
    Outcome,
    Prices,
    State,
    Study,
    TrialOrigin,
    TrialResult,
)
from autotune.store import SqlStore
from autotune.trial.job_files import read_job
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import Tuner, make_tuner
from tests.tuner.small_study import (
    HOST,
    InlineExecutor,
    RecordingObserver,
    completed,
    finished_trial,
    formula,
)


def tuner(study: Study, store: SqlStore, tmp_path: Path, **options: Any) -> Tuner:
    if study.name not in store.studies():
        store.create_study(study, {})
    options.setdefault("observer", RecordingObserver())
    return make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST, directory=tmp_path, **options
    )


def test_the_default_is_measured_first(study: Study, store: SqlStore, tmp_path: Path) -> None:
    own = study.baseline.with_values(batch_size=32)
    study = replace(study, budget=Budget(trials=4), start_with=(own,))
    reason = tuner(study, store, tmp_path).run(formula)
    trials = store.trials("small")
    assert [t.origin for t in trials] == ["baseline", "start_with", "sampler", "sampler"]
    assert trials[0].strategy == study.baseline
    assert trials[1].strategy == own
    assert all(t.state is State.COMPLETE for t in trials)
    assert "4 trials" in reason


def test_the_observer_is_told_about_every_trial(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    observer = RecordingObserver()
    study = replace(study, budget=Budget(trials=1))
    tuner(study, store, tmp_path, observer=observer).run(formula)
    assert observer.events == [("started", 0), ("progressed", 0), ("finished", 0)]
    assert store.trial("small", 0).result.curve[0].loss == 0.5


def test_a_second_run_continues(study: Study, store: SqlStore, tmp_path: Path) -> None:
    # Replicates near a bound depend on how long trials take, which two runs do not have in common.
    study = replace(study, constraints=())
    short = replace(study, budget=Budget(trials=3))
    tuner(short, store, tmp_path).run(formula)
    tuner(replace(study, budget=Budget(trials=6)), store, tmp_path).run(formula)
    continued = [t.strategy for t in store.trials("small")]

    uninterrupted = replace(study, name="uninterrupted", budget=Budget(trials=6))
    tuner(uninterrupted, store, tmp_path).run(formula)
    assert continued == [t.strategy for t in store.trials("uninterrupted")], "as if never stopped"


def test_an_interrupted_trial_runs_again(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(trials=3))
    store.create_study(study, {})
    store.start("small", study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    store.interrupt_running("small")
    tuner(study, store, tmp_path).run(formula)
    trials = store.trials("small")
    assert [t.state for t in trials] == [State.INTERRUPTED, *[State.COMPLETE] * 3]
    assert trials[1].strategy == study.baseline
    assert trials[1].origin == TrialOrigin.DEFAULT


def test_a_trial_is_retried_once(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(trials=2))
    store.create_study(study, {})
    other = study.baseline.with_values(batch_size=32)
    for strategy in (study.baseline, other):
        store.start("small", strategy, origin=TrialOrigin.SAMPLED, seed=0)
        store.interrupt_running("small")
    tuner(study, store, tmp_path).run(formula)
    raised = replace(study, budget=Budget(trials=4))
    tuner(raised, store, tmp_path).run(formula)
    keys = [t.strategy.key for t in store.trials("small") if t.state is State.COMPLETE]
    assert len(keys) == len(set(keys)) == 4


def test_money_ends_the_search(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(usd=0.03))
    reason = tuner(study, store, tmp_path).run(formula)
    assert "USD" in reason
    costs = [t.metrics["cost_usd"] for t in store.trials("small")]
    assert 0.03 - sum(costs[:-1]) > median(costs[:-1]), "the last trial was expected to fit in"
    assert 0.03 - sum(costs) <= median(costs), "another one could not"


def test_cost_is_the_price_of_the_resources_while_they_are_in_use(study: Study) -> None:
    base = finished_trial(0, study.baseline)
    started_at, finished_at = base.started_at, base.finished_at
    assert started_at is not None and finished_at is not None
    running = replace(base, number=1, state=State.RUNNING, finished_at=None, result=TrialResult())
    failed = replace(base, number=2, state=State.FAILED, result=TrialResult())
    metrics = {"cost_usd": 0.5, "train_seconds": 5.0}
    costly = replace(base, number=3, result=TrialResult(
        {name: Measurement(name, v, "x") for name, v in metrics.items()}
    ))  # fmt: skip
    used = BudgetUsage(
        [running, failed, costly], started_at + timedelta(seconds=20), lambda strategy: 36.0
    )
    assert used.usd == pytest.approx(0.01 * 20 + 0.01 * 10 + 0.1 * 10)
    left = used.minutes_left(Budget(usd=1.5), study.baseline)
    assert left == pytest.approx(0.2 / 72 * 60), "two trials run, so it lasts half as long"
    assert used.minutes_left(Budget(trials=3), study.baseline) is None
    assert BudgetUsage([failed], finished_at).usd == 0, "an unknown price is no price"


def test_a_trial_ends_when_the_money_is_used(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(usd=0.5), prices=Prices(cpu_core=1.0))

    def time_out_for_money(job: Job, report: Any) -> Outcome:
        assert job.limits.minutes is not None
        assert job.limits.minutes == pytest.approx(0.5 / 2 * 60, rel=0.01), "two cores"
        return Infeasible(FailureReason.TIMEOUT, "took longer than its limit")

    assert "money" in tuner(study, store, tmp_path).run(time_out_for_money)
    (only,) = store.trials("small")
    assert only.state is State.INTERRUPTED


def test_a_search_without_gains_ends(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(trials=50, patience=3))

    def flat(job: Job, report: Any) -> Outcome:
        return completed(study.baseline)

    assert "no gain of hypervolume" in tuner(study, store, tmp_path).run(flat)
    assert len(store.trials("small")) == 4, "the default, and three that are no better"


def test_no_trial_starts_without_enough_time_left(study: Study) -> None:
    trials = [finished_trial(n, study.baseline) for n in range(3)]
    now = trials[-1].finished_at
    assert now is not None
    used = BudgetUsage(trials, now)
    assert used.seconds == 30, "three trials of 10 s, pauses between them not counted"
    assert typical_seconds(trials) == 10
    assert used.exhausted(Budget(minutes=1)) is None
    assert used.exhausted(Budget(minutes=35 / 60)) is not None


def test_a_timeout_caused_by_the_budget_is_not_infeasible(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(minutes=1), limits=Limits(minutes=5))

    def time_out(job: Job, report: Any) -> Outcome:
        assert job.limits.minutes is not None
        if job.trial == 0:
            assert job.limits.minutes == 5, "the default ends, whatever the budget"
            return formula(job, report)
        assert job.limits.minutes <= 1
        return Infeasible(FailureReason.TIMEOUT, "took longer than its limit")

    reason = tuner(study, store, tmp_path).run(time_out)
    assert "time" in reason
    assert [t.state for t in store.trials("small")] == [State.COMPLETE, State.INTERRUPTED]


def test_a_timeout_caused_by_the_limit_of_a_trial_is_infeasible(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(minutes=60, trials=1), limits=Limits(minutes=5))
    tuner(study, store, tmp_path).run(
        lambda job, report: Infeasible(FailureReason.TIMEOUT, "too long")
    )
    assert store.trials("small")[0].state is State.INFEASIBLE


def test_stopping_lets_the_running_trial_finish(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    stopped = tuner(study, store, tmp_path)

    def stop_in_second_trial(job: Job, report: Any) -> Outcome:
        if job.trial == 1:
            stopped.stop("interrupted")
        return formula(job, report)

    assert stopped.run(stop_in_second_trial) == "interrupted"
    assert [t.state for t in store.trials("small")] == [State.COMPLETE, State.COMPLETE]


def test_every_outcome_is_stored(study: Study, store: SqlStore, tmp_path: Path) -> None:
    outcomes: list[Outcome] = [
        Infeasible(FailureReason.OUT_OF_MEMORY, "9 GiB of 8"),
        Interrupted("gone"),
        Completed(TrialResult({"accuracy": Measurement("accuracy", 0.5, "ratio")})),
    ]
    study = replace(study, budget=Budget(trials=2))
    tuner(study, store, tmp_path).run(lambda job, report: outcomes[job.trial])
    trials = store.trials("small")
    assert [t.state.value for t in trials] == ["infeasible", "interrupted", "complete"]
    assert trials[0].reason == "9 GiB of 8"


def test_a_job_carries_its_price(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(trials=1), prices=Prices(cpu_core=0.05))
    jobs: list[Job] = []

    def record_job(job: Job, report: Any) -> Outcome:
        jobs.append(job)
        return formula(job, report)

    tuner(study, store, tmp_path).run(record_job)
    assert jobs[0].hourly_usd == pytest.approx(0.1), "two cores"
    assert jobs[0].directory.endswith("small/0000")


def test_each_trial_writes_its_job_and_its_result(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=1))
    tuner(study, store, tmp_path).run(formula)
    folder = tmp_path / "small" / "0000"
    job = read_job(folder / "job.json")
    assert job.strategy == study.baseline
    assert job.task == study.task
    result = json.loads((folder / "result.json").read_text())
    assert result["state"] == "complete"
    assert result["metrics"]["accuracy"]["value"] == store.trial("small", 0).metric("accuracy")
