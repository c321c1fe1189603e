"""The default and finalists run again with other seeds, on the test split, within the budget."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autotune.analysis.front import knee, pareto_front
from autotune.domain import (
    Budget,
    Confirmation,
    ExecutorConfig,
    FailureReason,
    Infeasible,
    Job,
    Outcome,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.store import SqlStore
from autotune.tuner.confirmation import full_run_seconds, next_confirmation, search_budget
from autotune.tuner.finalists import finalists
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.tuner.small_study import (
    HOST,
    InlineExecutor,
    RecordingObserver,
    completed,
    finished_trial,
    formula,
    make_turn,
)


def with_confirmation(study: Study, top: int = 2, seeds: int = 1, **budget: Any) -> Study:
    return replace(study, confirm=Confirmation(top, seeds), budget=Budget(**budget))


def run(study: Study, store: SqlStore, tmp_path: Path, evaluate: Any = formula) -> str:
    if study.name not in store.studies():
        store.create_study(study, {})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST,
        directory=tmp_path, observer=RecordingObserver(),
    )  # fmt: skip
    return tuner.run(evaluate)


def history(study: Study) -> list[Trial]:
    """Five trials: the default, three on the front, and a dominated one."""
    base = study.baseline
    settings: list[dict[str, Any]] = [
        {},
        {"threads": 2, "learning_rate": 2e-4},
        {"threads": 2, "learning_rate": 2e-4, "pruning_ratio": 0.25},
        {"threads": 2, "learning_rate": 2e-4, "pruning_ratio": 0.5, "precision": "bf16"},
        {"threads": 1, "learning_rate": 4e-4},
    ]
    return [finished_trial(n, base.with_values(**s)) for n, s in enumerate(settings)]


def confirmation(number: int, trial: Trial, seed: int, **changes: Any) -> Trial:
    return finished_trial(
        number, trial.strategy, origin=TrialOrigin.CONFIRMATION, seed=seed, **changes
    )


def test_a_search_ends_with_confirmations(study: Study, store: SqlStore, tmp_path: Path) -> None:
    jobs: list[Job] = []

    def record_job(job: Job, report: Any) -> Outcome:
        jobs.append(job)
        return formula(job, report)

    study = with_confirmation(study, top=1, seeds=2, trials=12)
    reason = run(study, store, tmp_path, record_job)
    trials = store.trials("small")
    confirmations = [t for t in trials if t.is_confirmation]
    assert [t.number for t in confirmations] == [8, 9, 10, 11], "at the end, within the 12"
    assert "12 trials" in reason
    first = next(t for t in finalists(study, trials, 2) if t.strategy != study.baseline)
    assert [(t.strategy, t.seed) for t in confirmations] == [
        (study.baseline, 1), (first.strategy, 1), (study.baseline, 2), (first.strategy, 2),
    ]  # fmt: skip
    assert [job.trial for job in jobs if job.on_test_split] == [8, 9, 10, 11]
    assert all(job.phases == (Phase.PROFILE, Phase.TRAIN) for job in jobs if job.on_test_split)


def test_a_resumed_search_runs_the_missing_confirmations_only(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = with_confirmation(study, top=3, seeds=1, trials=9)
    confirmations = 0

    def crash_in_second_confirmation(job: Job, report: Any) -> Outcome:
        nonlocal confirmations
        confirmations += job.on_test_split
        if confirmations == 2:
            raise KeyboardInterrupt
        return formula(job, report)

    with pytest.raises(KeyboardInterrupt):
        run(study, store, tmp_path, crash_in_second_confirmation)
    store.interrupt_running("small")
    run(study, store, tmp_path)
    ended = [t for t in store.trials("small") if t.is_confirmation]
    assert [t.state for t in ended] == [State.COMPLETE, State.INTERRUPTED, *[State.COMPLETE] * 2]
    assert len({t.strategy.key for t in ended if t.state is State.COMPLETE}) == 3
    assert "rerun" not in {t.origin for t in store.trials("small")}


def test_a_larger_budget_continues_the_search_and_confirms_the_new_front(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    run(with_confirmation(study, trials=6), store, tmp_path)
    run(raised := with_confirmation(study, trials=14), store, tmp_path)
    trials = store.trials("small")
    assert sum(t.state is State.COMPLETE for t in trials) <= 14
    confirmed = {(t.strategy.key, t.seed) for t in trials if t.is_confirmation}
    places = [t for t in finalists(raised, trials, 3) if t.strategy != study.baseline][:2]
    assert {(study.baseline.key, 1), *((t.strategy.key, 1) for t in places)} <= confirmed
    assert len(confirmed) == sum(t.is_confirmation for t in trials), "none twice"


def test_the_knee_is_the_first_finalist(study: Study) -> None:
    trials = history(study)
    ranked = finalists(study, trials, 3)
    assert len({t.number for t in ranked}) == 3
    assert ranked[0] == knee(study, pareto_front(study, trials))
    assert {t.number for t in ranked} == {t.number for t in pareto_front(study, trials)}


def test_a_small_front_is_followed_by_the_next_front(study: Study) -> None:
    one = replace(study, objectives=study.objectives[:1])
    ranked = finalists(one, history(one), 3)
    speeds = [t.metric("train_samples_per_second") or 0.0 for t in ranked]
    assert len(ranked) == 3
    assert speeds == sorted(speeds, reverse=True)


def test_a_strategy_that_ran_twice_is_one_finalist(study: Study) -> None:
    trials = history(study)
    twice = [*trials, replace(trials[3], number=5, origin=TrialOrigin.ISOLATED_RERUN)]
    assert len({t.strategy.key for t in finalists(study, twice, 4)}) == 4


def test_nothing_is_confirmed_while_the_front_can_change(study: Study) -> None:
    study, trials = with_confirmation(study), history(study)
    assert next_confirmation(study, trials) is not None
    running = replace(trials[4], number=5, state=State.RUNNING, finished_at=None)
    assert next_confirmation(study, [*trials, running]) is None


def test_confirmations_of_another_driver_are_not_repeated(study: Study) -> None:
    study, trials = with_confirmation(study), history(study)
    first, second = finalists(study, trials, 2)
    trials.append(confirmation(5, trials[0], 1))
    other_drivers = confirmation(6, first, 1, state=State.RUNNING, finished_at=None)
    assert next_confirmation(study, [*trials, other_drivers]) is None, (
        "a confirmation runs in isolation"
    )
    study = replace(study, executor=ExecutorConfig("ray", workers=2))
    assert next_confirmation(study, [*trials, other_drivers]) == (second.strategy, 1)
    both = [*trials, other_drivers, confirmation(7, second, 1)]
    assert next_confirmation(study, both) is None


@pytest.mark.parametrize(
    ("changes", "is_repeated"),
    [
        ({"state": State.INTERRUPTED}, True),
        ({"state": State.FAILED, "failure": FailureReason.INFRASTRUCTURE}, True),
        ({"state": State.INFEASIBLE, "failure": FailureReason.OUT_OF_MEMORY}, False),
    ],
)
def test_a_confirmation_without_information_is_repeated(
    study: Study, changes: dict[str, Any], is_repeated: bool
) -> None:
    """One that failed gives its place to the next finalist."""
    study, trials = with_confirmation(study, top=1), history(study)
    best, second = finalists(study, trials, 2)
    trials += [confirmation(5, trials[0], 1), confirmation(6, best, 1, **changes)]
    assert next_confirmation(study, trials) == ((best if is_repeated else second).strategy, 1)


def test_nothing_is_reserved_without_confirmations(study: Study) -> None:
    study = replace(study, budget=Budget(9, 9.0, 9.0))
    assert search_budget(study, history(study)) == study.budget
    assert next_confirmation(study, history(study)) is None


def test_budget_is_reserved(study: Study) -> None:
    study, trials = (
        with_confirmation(study, seeds=2, trials=20, minutes=10, usd=1.0),
        history(study),
    )
    left = search_budget(study, trials)
    assert left.trials == 14, "two runs of the default and of two finalists"
    assert left.minutes == pytest.approx(10 - 6 * 10 / 60), "six runs of 10 s"
    costs = [trials[n].metric("cost_usd") or 0.0 for n in (0, 1, 2, 3)]
    assert left.usd == pytest.approx(1.0 - 6 * sum(costs) / 4), "of the default and the front"
    done = [*trials, confirmation(5, trials[0], 1)]
    assert search_budget(study, done).trials == 15, "finished confirmations need no reserve"


@pytest.mark.parametrize(("trials", "searched"), [(24, 20), (9, 6), (6, 4), (5, 5)])
def test_a_small_budget_is_used_for_the_search(study: Study, trials: int, searched: int) -> None:
    study = with_confirmation(study, top=3, trials=trials)
    assert search_budget(study, history(study)).trials == searched
    assert search_budget(study, []).trials == searched


def test_a_slow_default_leaves_time_for_the_search(study: Study) -> None:
    """Six runs of 10 s would take all of it."""
    study = with_confirmation(study, seeds=2, trials=20, minutes=0.5, usd=1e-6)
    left = search_budget(study, history(study))
    assert left.minutes == pytest.approx(0.5 * 2 / 3)
    assert left.usd == pytest.approx(1e-6 * 2 / 3)


@pytest.mark.parametrize(("kind", "seconds"), [("ray", 20), ("local", 60)])
def test_confirmations_run_concurrently_on_a_cluster(
    study: Study, kind: str, seconds: float
) -> None:
    study = with_confirmation(study, seeds=2, minutes=10)
    study = replace(study, executor=ExecutorConfig(kind, workers=4))
    left = search_budget(study, history(study)).minutes
    assert left == pytest.approx(10 - seconds / 60), "on one host they run one after the other"


def test_a_finalist_with_cached_results_takes_longer_when_it_runs_all_phases(study: Study) -> None:
    def timed(number: int, seconds: float, source: int | None = None) -> Trial:
        trial = finished_trial(number, study.baseline)
        start = trial.started_at
        assert start is not None
        numbers = {
            name: replace(m, source=source if name == "accuracy" else None)
            for name, m in trial.result.measurements.items()
        }
        numbers["train_seconds"] = replace(numbers["accuracy"], name="train_seconds", value=30.0)
        result = replace(trial.result, measurements=numbers)
        return replace(trial, result=result, finished_at=start + timedelta(seconds=seconds))

    full, cached = timed(0, 42.0), timed(1, 5.0, source=0)
    assert full_run_seconds(full, [full, cached]) == 42
    assert full_run_seconds(cached, [full, cached]) == pytest.approx(30 + 12)
    # Resumed at a checkpoint, it ran only the rest of its training.
    resumed = timed(2, 8.0)
    assert full_run_seconds(resumed, [full, resumed]) == pytest.approx(30 + 12)


def test_a_trial_that_exhausts_the_search_budget_leaves_the_reserve(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = with_confirmation(study, top=1, minutes=60)

    def slow(job: Job, report: Any) -> Outcome:
        if job.trial == 3:
            return Infeasible(FailureReason.TIMEOUT, "took longer than its limit")
        return completed(job.strategy)

    run(study, store, tmp_path, slow)
    trials = store.trials("small")
    assert trials[3].state is State.INTERRUPTED
    assert len(trials[4:]) >= 2 and all(trial.is_confirmation for trial in trials[4:])


def test_a_strategy_is_confirmed_with_other_seeds(study: Study) -> None:
    study = with_confirmation(study, top=1, seeds=3)
    trials: list[Trial] = history(study)
    seeds = []
    while (run := next_confirmation(study, trials)) is not None:
        strategy, seed = run
        assert isinstance(strategy, Strategy)
        seeds.append(seed)
        trials.append(confirmation(len(trials), replace(trials[0], strategy=strategy), seed))
    assert seeds == [1, 1, 2, 2, 3, 3]
    assert study.task.seed not in seeds
    strategies = [trial.strategy for trial in trials[5:]]
    assert strategies[::2] == [study.baseline] * 3, "the default precedes the finalist of each seed"
    assert strategies[1::2] == [finalists(study, trials, 1)[0].strategy] * 3


def test_what_is_recommended_at_last_is_confirmed(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confirmation runs can make another strategy the knee."""
    study, trials = with_confirmation(study, top=1), history(study)
    (first,) = finalists(study, trials, 1)
    other = next(t for t in trials if t.strategy not in (first.strategy, study.baseline))
    trials += [confirmation(5, trials[0], 1), confirmation(6, first, 1)]
    assert next_confirmation(study, trials) is None
    monkeypatch.setattr("autotune.tuner.confirmation.recommended_trial", lambda *_: other)
    assert next_confirmation(study, trials) == (other.strategy, 1)
    trials.append(confirmation(7, other, 1))
    assert next_confirmation(study, trials) is None


def test_a_free_place_is_that_of_what_is_recommended_meanwhile(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, trials = with_confirmation(study, top=2), history(study)
    first, second, third = (t for t in finalists(study, trials, 4) if t.strategy != study.baseline)
    trials += [confirmation(5, trials[0], 1), confirmation(6, first, 1)]
    assert next_confirmation(study, trials) == (second.strategy, 1)
    monkeypatch.setattr("autotune.tuner.confirmation.recommended_trial", lambda *_: third)
    assert next_confirmation(study, trials) == (third.strategy, 1)
    trials.append(confirmation(7, third, 1))
    assert next_confirmation(study, trials) is None, "both places are used"


def test_a_default_without_a_result_is_not_confirmed(study: Study) -> None:
    study = replace(with_confirmation(study, top=2), constraints=())
    failed = Infeasible(FailureReason.OUT_OF_MEMORY, "out of memory")
    trials = history(study)
    trials[0] = trials[0].finish(failed, trials[0].finished_at)  # type: ignore[arg-type]
    (best,) = finalists(study, trials, 1)
    assert next_confirmation(study, trials) == (best.strategy, 1)


def test_only_confirmations_cannot_change_the_front(study: Study) -> None:
    ended = finished_trial(0, study.baseline)
    sampled = replace(ended, number=1, state=State.RUNNING, origin=TrialOrigin.SAMPLED)
    confirmed = replace(sampled, number=2, origin=TrialOrigin.CONFIRMATION)
    assert make_turn(study, [ended, sampled, confirmed]).can_front_change
    assert not make_turn(study, [ended, confirmed]).can_front_change
