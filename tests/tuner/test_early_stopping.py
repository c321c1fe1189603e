"""Which trials the early-stopping rules stop, and that they stop no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from autotune.domain import (
    PHASES,
    Constraint,
    CurvePoint,
    Measurement,
    Objective,
    State,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.errors import StoreUnavailableError
from autotune.tuner.cache import CACHE_MISS
from autotune.tuner.early_stopping import MIN_FINISHED_TRIALS, EarlyStopper, asha, optimistic
from autotune.tuner.learning_curves import LearningCurves, TrialProgress
from tests.tuner.test_cache import DEFAULT


def rung(step: int, accuracy: float) -> CurvePoint:
    return CurvePoint(step, 100, step * 8, step * 0.1, 0.5, {"accuracy": accuracy, "loss": 0.5})


def profile(speed: float, **metrics: float) -> CurvePoint:
    return CurvePoint(5, 100, 40, 0.5, 0.5, {"train_samples_per_second": speed, **metrics})


def progress(*points: CurvePoint, cached: Mapping[str, float] | None = None) -> TrialProgress:
    return TrialProgress.from_points(DEFAULT, points, cached or {})


def finished(number: int, speed: float, accuracy: float, state: State = State.COMPLETE) -> Trial:
    metrics = {"train_samples_per_second": speed, "accuracy": accuracy}
    measurements = {name: Measurement(name, value, "x") for name, value in metrics.items()}
    if state is not State.COMPLETE:
        del measurements["accuracy"]
    strategy = DEFAULT.with_values(learning_rate=1e-5 * (number + 1))
    origin = TrialOrigin.DEFAULT if number == 0 else TrialOrigin.SAMPLED
    return Trial(number, state, strategy, 0, origin, result=TrialResult(measurements))


def trials_with_curves(
    accuracies: Mapping[int, tuple[float, float]],
) -> tuple[list[Trial], LearningCurves]:
    """Finished trials of speed 100 by (accuracy after a quarter, final accuracy)."""
    curves = LearningCurves()
    for number, (at_rung, _) in accuracies.items():
        curves.add(number, rung(25, at_rung))
    return [finished(n, 100.0, final) for n, (_, final) in accuracies.items()], curves


STEADY = {n: (0.60 + 0.01 * n, 0.70 + 0.01 * n) for n in range(MIN_FINISHED_TRIALS + 2)}
"""Each improved by ten points after its rung; the best ended at 77."""


def stop_reason(study: Study, accuracies: Mapping[int, tuple[float, float]], *points: CurvePoint,
                cached: Mapping[str, float] | None = None) -> str | None:  # fmt: skip
    history, curves = trials_with_curves(accuracies)
    unconstrained = replace(study, constraints=())
    return optimistic(unconstrained, progress(*points, cached=cached), history, curves)


def test_a_trial_whose_best_possible_result_is_dominated_is_stopped(study: Study) -> None:
    reason = stop_reason(study, STEADY, profile(80.0), rung(25, 0.50))
    assert reason is not None and reason.startswith("dominated by trial")
    assert "training speed 84" in reason and "accuracy 0.6" in reason


def test_a_faster_trial_continues_whatever_its_accuracy(study: Study) -> None:
    assert stop_reason(study, STEADY, profile(120.0), rung(25, 0.30)) is None


def test_a_trial_that_can_still_be_the_most_accurate_continues(study: Study) -> None:
    assert stop_reason(study, STEADY, profile(80.0), rung(25, 0.68)) is None


def test_speed_can_be_a_little_higher_than_in_the_profile_phase(study: Study) -> None:
    assert stop_reason(study, STEADY, profile(97.0), rung(25, 0.50)) is None


def test_too_few_finished_trials_stop_nothing(study: Study) -> None:
    few = dict(list(STEADY.items())[: MIN_FINISHED_TRIALS - 1])
    assert stop_reason(study, few, profile(80.0), rung(25, 0.10)) is None


def test_a_rung_is_compared_with_the_same_rung_only(study: Study) -> None:
    assert stop_reason(study, STEADY, profile(80.0), rung(50, 0.10)) is None


def test_the_speed_can_be_cached(study: Study) -> None:
    cached = {"train_samples_per_second": 80.0}
    assert stop_reason(study, STEADY, rung(25, 0.50), cached=cached) is not None
    assert stop_reason(study, STEADY, rung(25, 0.50)) is None


def test_a_cached_speed_brings_no_score_of_its_source(study: Study) -> None:
    """The outlook of a paused trial is the same whatever the accuracy of the trial whose speed it
    shares."""
    history, curves = trials_with_curves(STEADY)
    paused = replace(finished(9, 100.0, 0.7, State.PRUNED), result=TrialResult())
    points = {trial.number: curves.points(trial.number) for trial in history}
    points[paused.number] = (rung(25, 0.60),)
    store: Any = SimpleNamespace(curves=lambda name: points)
    refreshed: Any = SimpleNamespace(refresh=lambda: [*history, paused])
    stopper = EarlyStopper(study, store, refreshed, lambda *_: None)
    other = finished(8, 100.0, 0.99)
    worse, better = (stopper.outlook(paused, source) for source in (history[0], other))
    assert worse is not None and worse == better


def test_the_profile_phase_stops_nothing_without_a_score_bound(study: Study) -> None:
    assert stop_reason(study, STEADY, profile(1.0)) is None


def deploying(study: Study) -> tuple[Study, list[Trial], LearningCurves]:
    """A study of deployed models, and finished trials that lose ten points when deployed."""
    objectives = (Objective("latency_p50_ms", "minimize"), Objective("accuracy", "maximize"))
    constraint = Constraint("deployed_accuracy", ">=", 0.62)
    trials, curves = trials_with_curves(STEADY)
    deployed = []
    for trial in trials:
        accuracy = trial.result.measurements["accuracy"].value
        own = {"latency_p50_ms": 4.0, "deployed_accuracy": accuracy - 0.1}
        added = {name: Measurement(name, value, "x") for name, value in own.items()}
        result = TrialResult({**trial.result.measurements, **added})
        deployed.append(replace(trial, result=result))
    study = replace(study, objectives=objectives, constraints=(constraint,), deploys=True)
    return study, deployed, curves


def test_a_constraint_on_a_deployed_score_is_forecast_from_the_rung(study: Study) -> None:
    """Finished trials end as deployed where they were at the rung."""
    study, history, curves = deploying(study)
    reason = optimistic(study, progress(profile(80.0), rung(25, 0.40)), history, curves)
    assert reason is not None and "deployed accuracy" in reason
    assert optimistic(study, progress(profile(80.0), rung(25, 0.64)), history, curves) is None


def test_training_is_stopped_if_its_deployment_is_too_slow(study: Study) -> None:
    study, trials, _ = deploying(study)
    study = replace(study, constraints=(Constraint("latency_p50_ms", "<=", 3.0),))
    store: Any = SimpleNamespace(trial=lambda name, number: trials[number])
    history: Any = SimpleNamespace(refresh=lambda: trials)
    started: Any = SimpleNamespace(
        trial=finished(9, 80.0, 0.7, State.RUNNING),
        cache_hit=CACHE_MISS,
        job=SimpleNamespace(phases=PHASES),
    )

    def stop_reason(milliseconds: float) -> str | None:
        stopper = EarlyStopper(study, store, history, lambda *_: milliseconds)
        return stopper.should_stop(started, profile(80.0))

    reason = stop_reason(4.0)
    assert reason is not None and "deployed latency p50 can be 3.8 at best" in reason
    assert stop_reason(2.0) is None


def test_a_score_bound_lets_the_profile_phase_stop_a_trial(study: Study) -> None:
    history, curves = trials_with_curves(STEADY)
    after_profile = progress(profile(80.0))
    unconstrained = replace(study, constraints=())
    assert optimistic(unconstrained, after_profile, history, curves, lambda *_: 0.75) is not None
    assert optimistic(unconstrained, after_profile, history, curves, lambda *_: 0.80) is None


def test_a_high_score_bound_prevents_a_stop_at_a_rung(study: Study) -> None:
    """The finished trials can all be unlike this one."""
    history, curves = trials_with_curves(STEADY)
    at_rung = progress(profile(80.0), rung(25, 0.50))
    assert optimistic(study, at_rung, history, curves) is not None
    assert optimistic(study, at_rung, history, curves, lambda *_: 0.95) is None
    assert optimistic(study, at_rung, history, curves, lambda *_: 0.10) is not None


def test_a_constraint_that_cannot_be_satisfied_any_more_stops_a_trial(study: Study) -> None:
    history, curves = trials_with_curves(STEADY)
    strict = replace(study, constraints=(Constraint("accuracy", ">=", 0.75),))
    reason = optimistic(strict, progress(profile(500.0), rung(25, 0.50)), history, curves)
    assert reason is not None and "the study requires accuracy >= 0.75" in reason


def test_too_much_memory_stops_a_trial_after_its_profile_phase(study: Study) -> None:
    tight = replace(study, constraints=(Constraint("peak_memory_gib", "<=", 2.0),))
    above = progress(profile(1.0, peak_memory_gib=3.0))
    assert optimistic(tight, above, [], LearningCurves())
    within = progress(profile(1.0, peak_memory_gib=2.05))
    assert optimistic(tight, within, [], LearningCurves()) is None


def test_a_trial_is_not_stopped_after_its_last_step(study: Study) -> None:
    """With evaluations during training, the last step has scores as rungs have."""
    questions: list[int] = []

    def refresh() -> None:
        questions.append(1)
        raise StoreUnavailableError("no database")

    unused: Any = SimpleNamespace(refresh=refresh)
    stopper = EarlyStopper(study, unused, unused, lambda *_: None)
    job = SimpleNamespace(phases=PHASES)
    started: Any = SimpleNamespace(
        trial=finished(1, 1.0, 0.1, State.RUNNING), cache_hit=CACHE_MISS, job=job
    )
    assert stopper.should_stop(started, rung(99, 0.1)) is None and questions == [1]
    assert stopper.should_stop(started, rung(100, 0.1)) is None and questions == [1]


def is_stopped_by_asha(
    study: Study, others: Sequence[tuple[float, float]], own: tuple[float, float]
) -> bool:
    """``others`` and ``own`` are (speed, accuracy) at the same rung."""
    curves, history = LearningCurves(), []
    for number, (speed, accuracy) in enumerate(others):
        curves.add(number, rung(25, accuracy))
        history.append(finished(number, speed, accuracy, State.PRUNED))
    at_rung = progress(profile(own[0]), rung(25, own[1]))
    return asha(study, at_rung, history, curves) is not None


def test_halving_lets_the_first_front_pass(study: Study) -> None:
    others = [(10, 0.9), (20, 0.8), (30, 0.7), (5, 0.5), (6, 0.4)]
    assert not is_stopped_by_asha(study, others, (25, 0.75))
    assert is_stopped_by_asha(study, others, (5, 0.3))


def test_halving_waits_for_other_trials(study: Study) -> None:
    assert not is_stopped_by_asha(study, [(100, 0.9)], (1, 0.1))


def test_halving_ranks_by_fronts_not_by_one_objective(study: Study) -> None:
    others = [(10.0 + n, 0.5) for n in range(6)]
    assert not is_stopped_by_asha(study, others, (1.0, 0.6))


def test_a_trial_is_not_compared_with_itself(study: Study) -> None:
    """The history of a running trial contains it; with itself there are enough for halving."""
    others, curves = trials_with_curves({0: (0.9, 0.9)})
    running = replace(finished(1, 1.0, 0.1, State.RUNNING), origin=TrialOrigin.SAMPLED)
    store: Any = SimpleNamespace(
        curves=lambda name: {0: curves.points(0)}, trial=lambda *_: others[0]
    )
    history: Any = SimpleNamespace(refresh=lambda: [*others, running])
    job = SimpleNamespace(phases=PHASES)
    started: Any = SimpleNamespace(trial=running, cache_hit=CACHE_MISS, job=job)
    halving = replace(study, stopping="asha")
    stopper = EarlyStopper(halving, store, history, lambda *_: None)
    stopper._curves.add(0, *curves.points(0))
    assert stopper.should_stop(started, profile(1.0)) is None
    assert stopper.should_stop(started, rung(25, 0.1)) is None
