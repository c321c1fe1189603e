"""Which results of other trials a strategy reuses, and that it reuses no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.domain import (
    Completed,
    Failed,
    FailureReason,
    Job,
    Limits,
    Measurement,
    Phase,
    Pruned,
    State,
    Strategy,
    Study,
    Task,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.result import CONCURRENT_TRIALS
from autotune.levers import defaults, required_resources
from autotune.tuner.cache import (
    CACHE_MISS,
    CacheHit,
    ResultCache,
    measured_phases,
    merge_cached,
    shared_profile,
)
from tests.tuner.small_study import HOST

DEFAULT = Strategy(defaults(HOST))
SPEED = {"train_samples_per_second": 100.0, "setup_seconds": 2.0, "peak_memory_gib": 1.5}
SCORES = {"accuracy": 0.8, "train_samples": 1000.0}
RUN = {"train_seconds": 12.0, "cost_usd": 0.1}


def measurements(**values: float) -> dict[str, Measurement]:
    return {name: Measurement(name, value, "x", samples=(1.0,)) for name, value in values.items()}


def trial(number: int, *, state: State = State.COMPLETE, seed: int = 0, origin: str = "sampler",
          metrics: dict[str, float] | None = None, **values: object) -> Trial:  # fmt: skip
    values_by_metric = {**SPEED, **SCORES, **RUN} if metrics is None else metrics
    strategy = DEFAULT.with_values(**values)  # type: ignore[arg-type]
    return Trial(
        number, state, strategy, seed, origin, result=TrialResult(measurements(**values_by_metric))
    )


def job(strategy: Strategy) -> Job:
    resources = required_resources(strategy)
    return Job("s", 9, strategy, Task(), 0, resources, Limits(), "x", hourly_usd=36.0)


def find(study: Study, history: list[Trial], seed: int = 0, **values: object) -> CacheHit:
    strategy = DEFAULT.with_values(**values)  # type: ignore[arg-type]
    return ResultCache(study).update(history).find(strategy, seed)


def test_levers_that_influence_accuracy_only_reuse_the_profile_phase(study: Study) -> None:
    first = trial(0)
    hit = find(study, [first], learning_rate=1e-3)
    assert hit == CacheHit(profile=first) and hit.phases_to_run == (Phase.TRAIN,)


def test_levers_that_influence_speed_only_reuse_the_train_phase(study: Study) -> None:
    first = trial(0)
    hit = find(study, [first], threads=1, attention="eager")
    assert hit == CacheHit(train=first) and hit.phases_to_run == (Phase.PROFILE,)


@pytest.mark.parametrize("lever", [{"batch_size": 32}, {"precision": "bf16"}])
def test_levers_that_influence_both_reuse_nothing(study: Study, lever: dict[str, object]) -> None:
    assert find(study, [trial(0)], **lever) == CACHE_MISS


def test_another_seed_reuses_the_profile_phase_only(study: Study) -> None:
    first = trial(0)
    assert find(study, [first], seed=1) == CacheHit(profile=first)


def test_the_phases_can_come_from_two_trials(study: Study) -> None:
    slow = trial(0, threads=1)
    tuned = trial(1, learning_rate=1e-3)
    hit = find(study, [slow, tuned], threads=1, learning_rate=1e-3)
    assert hit == CacheHit(slow, tuned) and hit.phases_to_run == ()


def test_a_study_without_sharing_reuses_nothing(study: Study) -> None:
    assert find(replace(study, sharing=False), [trial(0)], threads=1) == CACHE_MISS


def test_the_profile_phase_of_an_early_stopped_trial_is_reused(study: Study) -> None:
    stopped = trial(0, state=State.PRUNED, metrics=SPEED)
    assert find(study, [stopped], learning_rate=1e-3) == CacheHit(profile=stopped)


@pytest.mark.parametrize("state", [State.FAILED, State.INFEASIBLE, State.RUNNING])
def test_trials_without_a_result_are_not_reused(study: Study, state: State) -> None:
    assert find(study, [trial(0, state=state)], threads=1) == CACHE_MISS


def test_the_speed_of_a_concurrent_trial_is_not_reused(study: Study) -> None:
    first = trial(0)
    result = replace(first.result, environment={CONCURRENT_TRIALS: 1})
    concurrent = replace(first, result=result)
    assert find(study, [concurrent], learning_rate=1e-3) == CACHE_MISS
    assert find(study, [concurrent], threads=1) == CacheHit(train=concurrent)


def test_a_shared_profile_has_the_totals_of_its_own_training_run_and_no_scores(
    study: Study,
) -> None:
    metrics = shared_profile(study, DEFAULT.with_values(epochs=3.0), trial(0, epochs=1.0))
    own = {"train_seconds": 32.0, "cost_usd": pytest.approx(0.1 * 32 / 12)}
    assert metrics == {**SPEED, **own}
    steps = replace(study, task=replace(study.task, steps=10))
    assert shared_profile(steps, DEFAULT.with_values(epochs=3.0), trial(0)) == {**SPEED, **RUN}


def test_the_training_of_a_confirmation_is_not_reused(study: Study) -> None:
    confirmation = trial(3, origin=TrialOrigin.CONFIRMATION)
    assert find(study, [confirmation], threads=1) == CACHE_MISS


def test_cached_results_are_not_cached_again(study: Study) -> None:
    first = trial(0)
    probe = Completed(TrialResult(measurements(**SPEED)))
    strategy = DEFAULT.with_values(threads=1)
    shared = merge_cached(probe, find(study, [first], threads=1), job(strategy))
    second = replace(trial(1, threads=1), result=shared.result)
    assert measured_phases(second) == (Phase.PROFILE,)
    assert find(study, [second, first], threads=1) == CacheHit(second, first)


def test_cached_results_name_their_source(study: Study) -> None:
    strategy = DEFAULT.with_values(threads=1)
    probe = Completed(TrialResult(measurements(train_samples_per_second=50.0)))
    outcome = merge_cached(probe, find(study, [trial(4)], threads=1), job(strategy))
    merged = outcome.result.measurements
    assert merged["accuracy"].source == 4 and merged["accuracy"].value == 0.8
    assert merged["accuracy"].samples == ()
    assert merged["train_samples_per_second"] == Measurement(
        "train_samples_per_second", 50.0, "x", samples=(1.0,)
    )
    assert [e.message for e in outcome.result.events] == ["the training run: shared from trial 4"]


def test_time_and_cost_follow_from_two_cached_phases(study: Study) -> None:
    slow = trial(0, threads=1, metrics={**SPEED, "train_samples_per_second": 50.0})
    tuned = trial(1, learning_rate=1e-3)
    both = find(study, [slow, tuned], threads=1, learning_rate=1e-3)
    strategy = DEFAULT.with_values(threads=1, learning_rate=1e-3)
    merged = merge_cached(Completed(TrialResult()), both, job(strategy)).result.measurements
    assert merged["train_seconds"].value == pytest.approx(2 + 1000 / 50)
    assert merged["cost_usd"].value == pytest.approx(36 / 3600 * 22)
    assert {m.source for m in merged.values()} == {0, 1}
    assert replace(slow, result=TrialResult(merged)).is_fully_cached


@pytest.mark.parametrize("outcome", [Failed(FailureReason.ERROR, "broke"), Pruned("dominated")])
def test_an_incomplete_trial_gets_no_cached_results(study: Study, outcome: object) -> None:
    merged = merge_cached(outcome, find(study, [trial(0)], threads=1), job(DEFAULT))  # type: ignore[arg-type]
    assert merged is outcome


def test_a_function_can_return_which_trials_ran_concurrently(study: Study) -> None:
    """Lists of trials do not contain their environments."""
    first, second = trial(0), trial(1)
    concurrent = ResultCache(study, lambda number: number == 0).update([first, second])
    hit = concurrent.find(DEFAULT.with_values(learning_rate=1e-3), 0)
    assert hit == CacheHit(profile=second)
