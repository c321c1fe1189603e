"""Failures that say nothing about a strategy: killed workers, and errors of every trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import (
    Budget,
    Failed,
    FailureReason,
    Infeasible,
    Job,
    Outcome,
    State,
    Study,
    TrialOrigin,
)
from autotune.execution import outcomes
from autotune.store import SqlStore
from autotune.tuner.failures import MAX_EQUAL_FAILURES
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import Tuner, make_tuner
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver, formula

SIGKILL, SIGSEGV = -9, -11

Kill = Callable[[Job], int | None]


def tuner(study: Study, store: SqlStore, tmp_path: Path) -> Tuner:
    if study.name not in store.studies():
        store.create_study(study, {})
    return make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST,
        directory=tmp_path, observer=RecordingObserver(),
    )  # fmt: skip


def killed_by(code: Kill) -> Callable[[Job, Any], Outcome]:
    """An evaluation whose worker ends with the exit code that ``code`` returns, if any."""

    def evaluate(job: Job, report: Any) -> Outcome:
        number = code(job)
        return formula(job, report) if number is None else outcomes.of_exit(number, None)

    return evaluate


def failing(reason: Callable[[Job], str | None]) -> Callable[[Job, Any], Outcome]:
    def evaluate(job: Job, report: Any) -> Outcome:
        text = reason(job)
        return formula(job, report) if text is None else Failed(FailureReason.ERROR, text)

    return evaluate


@pytest.mark.parametrize("victim", [0, 2])
def test_a_killed_worker_is_a_fault_of_the_machine_and_runs_once_more(
    study: Study, store: SqlStore, tmp_path: Path, victim: int
) -> None:
    study = replace(study, budget=Budget(trials=6))
    run = killed_by(lambda job: SIGKILL if job.trial == victim else None)
    tuner(study, store, tmp_path).run(run)
    trials = store.trials("small")
    lost = trials[victim]
    assert (lost.state, lost.failure) == (State.FAILED, FailureReason.INFRASTRUCTURE)
    later = [t for t in trials[victim + 1 :] if not t.has_another_seed]
    again = [t for t in later if t.strategy == lost.strategy]
    assert [t.state for t in again] == [State.COMPLETE]
    assert again[0].origin == (TrialOrigin.DEFAULT if victim == 0 else TrialOrigin.RETRY)
    assert not any(t.failure == FailureReason.PREDICTED for t in trials)


@pytest.mark.parametrize(("trials", "victim"), [(1, 0), (3, 2)])
def test_the_last_trial_of_the_budget_runs_again_after_a_kill(
    study: Study, store: SqlStore, tmp_path: Path, trials: int, victim: int
) -> None:
    study = replace(study, budget=Budget(trials=trials))
    run = killed_by(lambda job: SIGKILL if job.trial == victim else None)
    reason = tuner(study, store, tmp_path).run(run)
    states = [trial.state for trial in store.trials("small")]
    assert states == [*[State.COMPLETE] * victim, State.FAILED, State.COMPLETE]
    assert reason == f"all {trials} trials are done"


def test_a_retry_that_is_lost_too_counts_so_that_the_search_ends(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=3))
    lost = Failed(FailureReason.INFRASTRUCTURE, "node lost")
    search = tuner(study, store, tmp_path)
    search.run(lambda job, report: lost if job.trial else formula(job, report))
    trials = store.trials("small")
    assert [t.origin for t in trials if t.counts_against_budget] == [
        TrialOrigin.DEFAULT, TrialOrigin.RETRY, TrialOrigin.RETRY,
    ]  # fmt: skip
    assert len(trials) == 5


@pytest.mark.parametrize("origin", [TrialOrigin.CONFIRMATION, TrialOrigin.REPLICATE])
def test_a_lost_run_of_another_seed_counts_because_it_is_proposed_again(
    study: Study, store: SqlStore, tmp_path: Path, origin: TrialOrigin
) -> None:
    tuner(replace(study, budget=Budget(trials=1)), store, tmp_path).run(formula)
    lost = replace(
        store.trials("small")[0],
        state=State.FAILED, failure=FailureReason.INFRASTRUCTURE, origin=origin,
    )  # fmt: skip
    assert lost.counts_against_budget
    assert not replace(lost, origin=TrialOrigin.SAMPLED).counts_against_budget


def test_a_second_kill_is_a_crash(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(trials=6))
    first: list[str] = []

    def kill(job: Job) -> int | None:
        if job.trial == 1:
            first.append(job.strategy.key)
        return SIGKILL if job.strategy.key in first else None

    tuner(study, store, tmp_path).run(killed_by(kill))
    failures = [t.failure for t in store.trials("small") if t.failure is not None]
    assert failures == [FailureReason.INFRASTRUCTURE, FailureReason.CRASH]


def test_a_signal_of_the_trial_itself_is_a_crash_at_once(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=3))
    tuner(study, store, tmp_path).run(killed_by(lambda j: SIGSEGV if j.trial == 1 else None))
    assert store.trials("small")[1].failure == FailureReason.CRASH


def test_an_error_of_the_default_ends_the_search(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    search = tuner(study, store, tmp_path)
    reason = search.run(failing(lambda job: "IndexError: index 110 is out of bounds"))
    assert len(store.trials("small")) == 1
    assert "the default, failed: IndexError: index 110 is out of bounds" in reason
    assert search.failure == reason
    continued = tuner(replace(study, budget=Budget(trials=3)), store, tmp_path)
    continued.run(formula)
    trials = store.trials("small")
    assert [t.state for t in trials] == [State.FAILED, State.COMPLETE, State.COMPLETE]
    assert trials[1].origin is TrialOrigin.DEFAULT, "the cause may have been mended"


def test_a_default_that_does_not_fit_does_not_end_the_search(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=4))

    def evaluate(job: Job, report: Any) -> Outcome:
        if job.trial == 0:
            return Infeasible(FailureReason.OUT_OF_MEMORY, "used 9 GiB")
        return formula(job, report)

    search = tuner(study, store, tmp_path)
    search.run(evaluate)
    assert search.failure is None
    assert len(store.trials("small")) == 4


def test_equal_failures_in_a_row_end_the_search(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=40))
    text = "OSError: disk {0}; log at /runs/{0}/log.txt"
    search = tuner(study, store, tmp_path)
    search.run(failing(lambda job: text.format(job.trial) if job.trial else None))
    assert len(store.trials("small")) == 1 + MAX_EQUAL_FAILURES
    assert search.failure is not None and "failed alike: OSError" in search.failure


def test_different_failures_do_not_end_the_search(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=12))
    kinds = ("ValueError", "TypeError")
    search = tuner(study, store, tmp_path)
    search.run(failing(lambda job: kinds[job.trial % 2] if job.trial else None))
    assert search.failure is None
    assert len(store.trials("small")) == 12
