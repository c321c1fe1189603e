"""Which training runs are paused, and which of them are continued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import (
    PAUSED_AT_STEP,
    Budget,
    Completed,
    Constraint,
    CurvePoint,
    Job,
    Limits,
    Measurement,
    Outcome,
    Phase,
    Pruned,
    State,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.store import SqlStore
from autotune.tuner.pausing import (
    MIN_FINISHED_TRIALS,
    Outlook,
    choose_continuation,
    estimate_outlook,
    new_trial_worth,
    pause_reason,
)
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.score_forecast import ScoreForecast, forecast_score
from autotune.tuner.sources import PausedTrials
from autotune.tuner.started_trial import start_trial
from autotune.tuner.tuner import make_tuner
from tests.tuner.small_study import (
    HOST,
    InlineExecutor,
    RecordingObserver,
    finished_trial,
    formula,
    make_turn,
    measure,
)

POINT = CurvePoint(50, 100, 400, 60.0, 0.4, {"accuracy": 0.8})
FINISHED = [(0.80, 0.84)] * 5


def trials(study: Study, count: int, accuracy: float = 0.84) -> list[Trial]:
    """The default and trials of the sampler, each faster than the one before and as accurate."""
    history = []
    for number in range(count):
        strategy = study.baseline.with_values(learning_rate=1e-5 * (number + 1))
        metrics = {"train_samples_per_second": 100.0 + number, "accuracy": accuracy}
        result = TrialResult({n: Measurement(n, v, "x") for n, v in metrics.items()})
        origin = TrialOrigin.SAMPLED if number else TrialOrigin.DEFAULT
        strategy = strategy if number else study.baseline
        history.append(finished_trial(number, strategy, result=result, origin=origin))
    return history


def forecast(score: float) -> dict[str, ScoreForecast]:
    made = forecast_score("accuracy", score, 0.5, FINISHED)
    assert made is not None
    return {"accuracy": made}


def outlook(study: Study, speed: float, score: float, history: Sequence[Trial]) -> Outlook:
    metrics = {"train_samples_per_second": speed}
    estimate = estimate_outlook(study, POINT, metrics, forecast(score), history)
    assert estimate is not None
    return estimate


def test_the_outlook_of_a_faster_trial_is_that_of_its_constraint(study: Study) -> None:
    history = trials(study, 3)
    assert outlook(study, 200.0, 0.80, history).probability > 0.5
    assert outlook(study, 200.0, 0.60, history).probability < 0.2
    assert outlook(study, 200.0, 0.80, history).remaining_seconds == pytest.approx(60.0)


def test_a_slower_trial_must_become_more_accurate(study: Study) -> None:
    history = trials(study, 3)
    slow, fast = (outlook(study, speed, 0.80, history) for speed in (90.0, 200.0))
    assert slow.probability < fast.probability
    assert outlook(study, 90.0, 0.95, history).probability > slow.probability


def test_without_a_forecast_of_an_objective_there_is_no_outlook(study: Study) -> None:
    metrics = {"train_samples_per_second": 90.0}
    assert estimate_outlook(study, POINT, metrics, {}, trials(study, 3)) is None


def test_a_trial_is_paused_where_new_strategies_are_worth_more(study: Study) -> None:
    history = trials(study, MIN_FINISHED_TRIALS + 2)
    poor, promising = Outlook(0.02, 60.0), Outlook(0.6, 60.0)
    reason = pause_reason(study, POINT, poor, 1.0, history)
    assert reason is not None
    assert reason.startswith("paused at step 50 of 100: ")
    assert "probability of 2% in 60 s" in reason
    assert pause_reason(study, POINT, promising, 1.0, history) is None


def test_little_training_that_is_left_is_not_paused(study: Study) -> None:
    history = trials(study, MIN_FINISHED_TRIALS + 2)
    assert pause_reason(study, POINT, Outlook(0.02, 60.0), 20.0, history) is None
    assert pause_reason(study, POINT, Outlook(0.02, 5.0), 0.5, history) is None


def test_nothing_is_paused_before_a_few_trials_have_finished(study: Study) -> None:
    history = trials(study, MIN_FINISHED_TRIALS)
    assert new_trial_worth(study, history) is None
    assert pause_reason(study, POINT, Outlook(0.0, 60.0), 1.0, history) is None


def test_the_worth_of_a_new_strategy_falls_as_the_front_stands_still(study: Study) -> None:
    history = trials(study, 6)
    early = new_trial_worth(study, history)
    dominated = trials(study, 12, accuracy=0.5)[6:]
    slow = TrialResult({"train_samples_per_second": Measurement("x", 1.0, "x"),
                        "accuracy": Measurement("x", 0.5, "x")})  # fmt: skip
    late = new_trial_worth(study, [*history, *(replace(t, result=slow) for t in dominated)])
    assert early is not None and late is not None
    assert late < early


def test_a_violating_trial_adds_nothing_to_the_worth_of_a_new_strategy(study: Study) -> None:
    study = replace(study, constraints=(Constraint("accuracy", ">=", 0.8),))
    history, extra = trials(study, 6), trials(study, 7, accuracy=0.5)[6]
    slow = {"train_samples_per_second": Measurement("x", 1.0, "x"),
            "accuracy": Measurement("x", 0.5, "x")}  # fmt: skip
    dominated = replace(extra, result=TrialResult(slow))
    worths = [new_trial_worth(study, [*history, trial]) for trial in (extra, dominated)]
    assert worths[0] is not None and worths[0] == worths[1]


def test_the_paused_trial_of_most_worth_is_continued_first(study: Study) -> None:
    history = trials(study, 6)
    outlooks = {7: Outlook(0.9, 60.0), 8: Outlook(0.9, 6.0), 9: Outlook(0.05, 60.0)}
    options: dict[str, Any] = {"has_ended": False, "fits": lambda *_: True}
    assert choose_continuation(study, outlooks, history, **options) == 8
    assert choose_continuation(study, {9: outlooks[9]}, history, **options) is None


def test_at_the_end_the_promising_ones_that_fit_are_continued(study: Study) -> None:
    history = trials(study, 6)
    outlooks = {7: Outlook(0.5, 600.0), 8: Outlook(0.3, 60.0), 9: Outlook(0.1, 1.0)}
    chosen = choose_continuation(
        study, outlooks, history, has_ended=True, fits=lambda _, seconds: seconds < 100
    )
    assert chosen == 8


def paused_trial(study: Study, store: SqlStore, number: int) -> Trial:
    """A trial in ``store`` that was paused."""
    strategy = study.baseline.with_values(batch_size=32)
    store.start(study.name, strategy, origin=TrialOrigin.SAMPLED, seed=0)
    environment = {PAUSED_AT_STEP: 50}
    return store.finish(study.name, number, Pruned("paused", TrialResult(environment=environment)))


def test_a_trial_is_continued_once(study: Study, store: SqlStore) -> None:
    store.create_study(study, {})
    store.start(study.name, study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    paused = paused_trial(study, store, 1)
    source = PausedTrials(study, store, lambda trial, profile: Outlook(0.9, 0.1))
    history = trials(study, 6)
    history = [history[0], paused, *(replace(t, number=t.number + 1) for t in history[1:])]
    proposal = source.next(make_turn(study, history))
    assert proposal is not None
    assert (proposal.strategy, proposal.origin) == (paused.strategy, TrialOrigin.CONTINUED)
    for state, is_open in (
        (State.RUNNING, False), (State.COMPLETE, False), (State.INTERRUPTED, True),
    ):  # fmt: skip
        later = replace(paused, number=7, state=state, origin=TrialOrigin.CONTINUED)
        choice = source.next(make_turn(study, [*history, later]))
        assert (choice is not None) == is_open, state


def test_a_trial_that_was_only_stopped_is_not_continued(study: Study, store: SqlStore) -> None:
    store.create_study(study, {})
    strategy = study.baseline.with_values(batch_size=32)
    store.start(study.name, strategy, origin=TrialOrigin.SAMPLED, seed=0)
    stopped = store.finish(study.name, 0, Pruned("dominated"))
    source = PausedTrials(study, store, lambda trial, profile: Outlook(0.9, 0.1))
    history = [replace(stopped, number=0), *trials(study, 6)[1:]]
    assert source.next(make_turn(study, history)) is None


def test_a_paused_trial_that_shares_its_speed_is_continued_with_it(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    """It measured nothing itself, so its rest needs no profile phase either."""
    store.create_study(study, {})
    default = store.start(study.name, study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    store.finish(study.name, default.number, formula_with_setup(study))
    strategy = study.baseline.with_values(learning_rate=2e-4)
    store.start(study.name, strategy, origin=TrialOrigin.SAMPLED, seed=0)
    result = TrialResult(environment={PAUSED_AT_STEP: 50})
    paused = store.finish(study.name, 1, Pruned("paused", result))
    profiles: list[int] = []

    def outlook(trial: Trial, profile: Trial) -> Outlook:
        profiles.append(profile.number)
        return Outlook(0.9, 0.1)

    history = store.trials(study.name)
    turn = make_turn(study, history, session_end="the search has ended")
    proposal = PausedTrials(study, store, outlook).next(turn)
    assert proposal is not None and profiles == [0]
    running = replace(paused, number=2, state=State.RUNNING, origin=proposal.origin)
    for runs, phases in (
        (history, (Phase.TRAIN,)),
        ([history[0], replace(paused, result=history[0].result)], (Phase.PROFILE, Phase.TRAIN)),
    ):
        started = start_trial(running, make_turn(study, runs), tmp_path)
        assert started.job.phases == phases
        assert started.job.continues == (str(tmp_path / study.name / "0001"),)


def formula_with_setup(study: Study) -> Completed:
    metrics = {**measure(study.baseline), "setup_seconds": 1.0, "train_seconds": 20.0}
    return Completed(TrialResult({n: Measurement(n, v, "x") for n, v in metrics.items()}))


def test_a_search_continues_what_it_has_paused_before_it_ends(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    """Trial 1 is paused; it is continued in its folder when all trials of the budget are done, and
    does not count as another trial."""
    study = replace(study, budget=Budget(trials=3), limits=Limits())
    store.create_study(study, {})
    jobs: list[Job] = []

    def pause_first(job: Job, report: Any) -> Outcome:
        jobs.append(job)
        report(CurvePoint(50, 100, 400, 10.0, 0.5, {"accuracy": 0.8}))
        if job.trial == 1:
            return Pruned("paused", TrialResult(environment={PAUSED_AT_STEP: 50}))
        return formula(job, report)

    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST, directory=tmp_path,
        observer=RecordingObserver(),
    )  # fmt: skip
    tuner.sources.paused._outlook = lambda trial, profile: Outlook(0.5, 10.0)
    tuner.run(pause_first)
    stored = store.trials(study.name)
    assert [t.state for t in stored] == [State.COMPLETE, State.PRUNED, *[State.COMPLETE] * 2]
    assert stored[3].origin is TrialOrigin.CONTINUED
    assert stored[3].strategy == stored[1].strategy
    assert jobs[3].continues == (jobs[1].directory,)
    assert not stored[3].counts_against_budget
