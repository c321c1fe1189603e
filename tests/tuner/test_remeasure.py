"""The trials that a search reports have run in isolation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.analysis.front import find_baseline, pareto_front
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.verdict import Verdict
from autotune.domain import (
    CONCURRENT_TRIALS,
    Budget,
    Confirmation,
    ExecutorConfig,
    FailureReason,
    Infeasible,
    Job,
    Measurement,
    Outcome,
    State,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.ports import Ask, Evaluate, Report, ShouldStop, Tell
from autotune.store import SqlStore
from autotune.tuner import remeasure
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.tuner.small_study import (
    HOST,
    InlineExecutor,
    RecordingObserver,
    completed,
    finished_trial,
)


class PairExecutor(InlineExecutor):
    """Runs two jobs at a time, marks them as concurrent, and records which ran together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, ...]] = []

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        while True:
            jobs = [job for job in (ask(), ask()) if job is not None]
            if not jobs:
                return
            self.batches.append(tuple(job.trial for job in jobs))
            for job in jobs:
                outcome = evaluate(job, lambda point, job=job: should_stop(job, point))
                tell(job, mark_concurrent(outcome, len(jobs) - 1))


def mark_concurrent(outcome: Outcome, others: int) -> Outcome:
    if not others:
        return outcome
    environment = {CONCURRENT_TRIALS: others}
    return replace(outcome, result=replace(outcome.result, environment=environment))


def evaluate_completed(job: Job, report: Report) -> Outcome:
    return completed(job.strategy)


@pytest.fixture
def pair(study: Study) -> Study:
    return replace(study, executor=ExecutorConfig(workers=2), budget=Budget(trials=6))


def search(
    study: Study, store: SqlStore, tmp_path: Path, evaluate: Evaluate = evaluate_completed
) -> tuple[list[Trial], PairExecutor, str]:
    store.create_study(study, {})
    executor = PairExecutor()
    tuner = make_tuner(
        study, store, make_sampler(study), executor, HOST, directory=tmp_path,
        observer=RecordingObserver(),
    )  # fmt: skip
    reason = tuner.run(evaluate)
    return list(store.trials(study.name)), executor, reason


def test_the_front_and_the_default_are_rerun_in_isolation(
    pair: Study, store: SqlStore, tmp_path: Path
) -> None:
    trials, executor, reason = search(pair, store, tmp_path)
    assert reason == "all 6 trials are done"
    reruns = [t for t in trials if t.origin == TrialOrigin.ISOLATED_RERUN]
    assert [t.number for t in reruns] == list(range(6, len(trials)))
    assert all((t.number,) in executor.batches for t in reruns)
    assert {t.strategy.key for t in reruns} >= {t.strategy.key for t in pareto_front(pair, trials)}
    assert all(t.origin == TrialOrigin.ISOLATED_RERUN for t in pareto_front(pair, trials))
    default = find_baseline(pair, trials)
    assert default is not None and default.origin == TrialOrigin.ISOLATED_RERUN


def test_isolated_trials_are_not_rerun(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(study, budget=Budget(trials=4))
    store.create_study(study, {})
    make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST, directory=tmp_path,
        observer=RecordingObserver(),
    ).run(evaluate_completed)  # fmt: skip
    assert len(store.trials(study.name)) == 4


def test_a_failed_rerun_is_not_repeated(pair: Study, store: SqlStore, tmp_path: Path) -> None:
    def fail_in_isolation(job: Job, report: Report) -> Outcome:
        is_rerun = store.trial(job.study, job.trial).origin == TrialOrigin.ISOLATED_RERUN
        return (
            Infeasible(FailureReason.TIMEOUT, "too slow") if is_rerun else completed(job.strategy)
        )

    trials, _, _ = search(pair, store, tmp_path, fail_in_isolation)
    keys = [t.strategy.key for t in trials if t.origin == TrialOrigin.ISOLATED_RERUN]
    assert keys and len(keys) == len(set(keys))
    assert all(t.origin != TrialOrigin.ISOLATED_RERUN for t in pareto_front(pair, trials))


def test_a_cached_result_is_rerun_if_its_source_ran_concurrently(study: Study) -> None:
    first = finished_trial(0, study.baseline)
    shared = {name: replace(m, source=0) for name, m in first.result.measurements.items()}
    other = study.baseline.with_values(batch_size=32)
    second = finished_trial(1, other, result=replace(first.result, measurements=shared))
    reruns = remeasure.needs_isolated_rerun(study, [first, second], lambda number: number == 0)
    assert [t.number for t in reruns] == [0, 1]
    assert remeasure.needs_isolated_rerun(study, [first, second], lambda number: False) == []


def test_time_and_money_are_reserved_for_reruns(study: Study) -> None:
    reruns = [finished_trial(n, study.baseline) for n in range(3)]  # 10 s and 0.01 USD each
    budget = Budget(trials=9, minutes=10.0, usd=1.0)
    left = remeasure.reserve(budget, reruns)
    assert left.trials == 9
    assert left.minutes == pytest.approx(9.5)
    assert left.usd == pytest.approx(0.97)
    assert remeasure.reserve(Budget(minutes=1.0), reruns).minutes == pytest.approx(0.7)
    assert remeasure.is_reserve_due(budget, 430.0, 0.0) and remeasure.is_reserve_due(
        budget, 0.0, 0.71
    )
    assert not remeasure.is_reserve_due(budget, 400.0, 0.5)
    assert not remeasure.is_reserve_due(Budget(trials=3), 1e6, 1e6)


def test_the_isolated_rerun_replaces_the_concurrent_trial(study: Study) -> None:
    concurrent = finished_trial(0, study.baseline)
    slower = {
        name: replace(m, value=m.value / 2) for name, m in concurrent.result.measurements.items()
    }
    isolated = finished_trial(
        1,
        study.baseline,
        origin=TrialOrigin.ISOLATED_RERUN,
        result=replace(concurrent.result, measurements=slower),
    )
    assert [t.number for t in pareto_front(study, [concurrent, isolated])] == [1]
    snapshot = Snapshot(study, [concurrent, isolated])
    assert [t.number for t in snapshot.front] == [1]
    assert snapshot.verdicts[0] is Verdict.SUPERSEDED
    failed = replace(isolated, state=State.INFEASIBLE)
    assert [t.number for t in pareto_front(study, [concurrent, failed])] == [0]


def sharing(study: Study, number: int, seconds: float) -> Trial:
    """A trial that shares the speed of the default (50 samples/s) and trained in ``seconds``."""
    strategy = study.baseline.with_values(learning_rate=2e-4 + number * 1e-6)
    trial = finished_trial(number, strategy)
    measurements = dict(trial.result.measurements)
    measurements["train_samples_per_second"] = Measurement(
        "train_samples_per_second", 50.0, "samples/s", source=0
    )
    measurements["setup_seconds"] = Measurement("setup_seconds", 2.0, "s", source=0)
    measurements["train_samples"] = Measurement("train_samples", 400, "samples")
    measurements["train_seconds"] = Measurement("train_seconds", seconds, "s")
    return replace(trial, result=replace(trial.result, measurements=measurements))


@pytest.mark.parametrize(
    ("seconds", "is_doubtful"),
    [
        ((10.0,), False),
        ((11.0, 9.2), False),
        ((13.0,), True),
        ((7.0,), True),
        ((3.9,), False),  # it trained for a moment only
        ((10.0, 9.8, 14.0), False),
        ((13.0, 12.5, 10.0), True),
    ],
)
def test_a_shared_speed_is_doubtful_if_training_runs_disagree(
    study: Study, seconds: tuple[float, ...], is_doubtful: bool
) -> None:
    """400 samples at 50 per second and 2 s of setup take 10 s."""
    trials = [sharing(study, number, s) for number, s in enumerate(seconds, start=1)]
    history = [finished_trial(0, study.baseline), *trials]
    assert remeasure.doubtful_speeds(history) == (frozenset({0}) if is_doubtful else frozenset())


def test_a_doubtful_speed_is_measured_again(study: Study) -> None:
    history = [finished_trial(0, study.baseline), sharing(study, 1, 13.0)]

    def reruns(study: Study, history: list[Trial]) -> list[int]:
        needed = remeasure.needs_isolated_rerun(study, history, lambda _: False)
        return [trial.number for trial in needed]

    assert reruns(study, history) == [0, 1], "the default, and the front that shares its speed"
    confirmed = replace(study, confirm=Confirmation(1))
    assert reruns(confirmed, history) == [], "confirmation runs measure it again"
    agreeing = [history[0], sharing(study, 1, 10.0)]
    assert reruns(study, agreeing) == []
    again = [*history, finished_trial(2, history[1].strategy, origin=TrialOrigin.ISOLATED_RERUN)]
    assert reruns(study, again) == [0], "once"
