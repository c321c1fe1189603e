"""Numbers that another trial has measured already are taken from it, and nothing else is."""

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
from autotune.search.cache import (
    CACHE_MISS,
    CacheHit,
    ResultCache,
    measured_phases,
    merge_cached,
)
from tests.search.small_study import HOST

DEFAULT = Strategy(defaults(HOST))
SPEED = {"train_samples_per_second": 100.0, "setup_seconds": 2.0, "peak_memory_gib": 1.5}
TRAINING = {"accuracy": 0.8, "train_samples": 1000.0}
RUN = {"train_seconds": 12.0, "cost_usd": 0.1}


def numbers(**values: float) -> dict[str, Measurement]:
    return {name: Measurement(name, value, "x", samples=(1.0,)) for name, value in values.items()}


def trial(number: int, *, state: State = State.COMPLETE, seed: int = 0, origin: str = "sampler",
          measured: dict[str, float] | None = None, **values: object) -> Trial:  # fmt: skip
    found = {**SPEED, **TRAINING, **RUN} if measured is None else measured
    strategy = DEFAULT.with_values(**values)  # type: ignore[arg-type]
    return Trial(number, state, strategy, seed, origin, result=TrialResult(numbers(**found)))


def job(strategy: Strategy) -> Job:
    return Job("s", 9, strategy, Task(), 0, required_resources(strategy), Limits(), "x", hourly_usd=36.0)


def known(study: Study, history: list[Trial], seed: int = 0, **values: object) -> CacheHit:
    strategy = DEFAULT.with_values(**values)  # type: ignore[arg-type]
    return ResultCache(study).update(history).find(strategy, seed)


def test_levers_of_accuracy_alone_leave_the_speed_known(study: Study) -> None:
    first = trial(0)
    found = known(study, [first], learning_rate=1e-3)
    assert found == CacheHit(profile=first) and found.phases_to_run == (Phase.TRAIN,)


def test_levers_of_speed_alone_leave_the_training_known(study: Study) -> None:
    first = trial(0)
    found = known(study, [first], threads=1, attention="eager")
    assert found == CacheHit(train=first) and found.phases_to_run == (Phase.PROFILE,)


@pytest.mark.parametrize("lever", [{"batch_size": 32}, {"precision": "bf16"}])
def test_levers_of_both_leave_nothing_known(study: Study, lever: dict[str, object]) -> None:
    assert known(study, [trial(0)], **lever) == CACHE_MISS


def test_another_seed_trains_again_at_a_known_speed(study: Study) -> None:
    first = trial(0)
    assert known(study, [first], seed=1) == CacheHit(profile=first)


def test_two_trials_can_know_everything_together(study: Study) -> None:
    slow = trial(0, threads=1)
    tuned = trial(1, learning_rate=1e-3)
    found = known(study, [slow, tuned], threads=1, learning_rate=1e-3)
    assert found == CacheHit(slow, tuned) and found.phases_to_run == ()


def test_a_study_without_sharing_knows_nothing(study: Study) -> None:
    assert known(replace(study, sharing=False), [trial(0)], threads=1) == CACHE_MISS


def test_a_stopped_trial_knows_its_speed(study: Study) -> None:
    stopped = trial(0, state=State.PRUNED, measured=SPEED)
    assert known(study, [stopped], learning_rate=1e-3) == CacheHit(profile=stopped)


@pytest.mark.parametrize("state", [State.FAILED, State.INFEASIBLE, State.RUNNING])
def test_trials_without_a_result_know_nothing(study: Study, state: State) -> None:
    assert known(study, [trial(0, state=state)], threads=1) == CACHE_MISS


def test_a_speed_measured_beside_other_trials_is_not_shared(study: Study) -> None:
    first = trial(0)
    crowded = replace(first.result, environment={CONCURRENT_TRIALS: 1})
    beside = replace(first, result=crowded)
    assert known(study, [beside], learning_rate=1e-3) == CACHE_MISS
    assert known(study, [beside], threads=1) == CacheHit(train=beside)


def test_a_confirming_run_is_judged_on_other_data_and_shares_no_training(study: Study) -> None:
    again = trial(3, origin=TrialOrigin.CONFIRMATION)
    assert known(study, [again], threads=1) == CACHE_MISS


def test_what_was_shared_is_not_shared_on(study: Study) -> None:
    first = trial(0)
    probe = Completed(TrialResult(numbers(**SPEED)))
    strategy = DEFAULT.with_values(threads=1)
    shared = merge_cached(probe, known(study, [first], threads=1), job(strategy))
    second = replace(trial(1, threads=1), result=shared.result)
    assert measured_phases(second) == (Phase.PROFILE,)
    assert known(study, [second, first], threads=1) == CacheHit(second, first)


def test_shared_numbers_say_where_they_come_from(study: Study) -> None:
    strategy = DEFAULT.with_values(threads=1)
    probe = Completed(TrialResult(numbers(train_samples_per_second=50.0)))
    outcome = merge_cached(probe, known(study, [trial(4)], threads=1), job(strategy))
    found = outcome.result.measurements
    assert found["accuracy"].source == 4 and found["accuracy"].value == 0.8
    assert found["accuracy"].samples == ()
    assert found["train_samples_per_second"] == Measurement(
        "train_samples_per_second", 50.0, "x", samples=(1.0,)
    )
    assert [e.message for e in outcome.result.events] == ["the training run: shared from trial 4"]


def test_time_and_money_of_two_known_halves_are_worked_out(study: Study) -> None:
    slow = trial(0, threads=1, measured={**SPEED, "train_samples_per_second": 50.0})
    tuned = trial(1, learning_rate=1e-3)
    both = known(study, [slow, tuned], threads=1, learning_rate=1e-3)
    strategy = DEFAULT.with_values(threads=1, learning_rate=1e-3)
    found = merge_cached(Completed(TrialResult()), both, job(strategy)).result.measurements
    assert found["train_seconds"].value == pytest.approx(2 + 1000 / 50)
    assert found["cost_usd"].value == pytest.approx(36 / 3600 * 22)
    assert {m.source for m in found.values()} == {0, 1}
    assert replace(slow, result=TrialResult(found)).is_fully_cached


@pytest.mark.parametrize("outcome", [Failed(FailureReason.ERROR, "broke"), Pruned("dominated")])
def test_a_trial_that_did_not_complete_takes_nothing(study: Study, outcome: object) -> None:
    taken = merge_cached(outcome, known(study, [trial(0)], threads=1), job(DEFAULT))  # type: ignore[arg-type]
    assert taken is outcome


def test_the_store_can_be_asked_who_ran_beside_others(study: Study) -> None:
    """Listings of trials come without their environment."""
    first, second = trial(0), trial(1)
    crowded = ResultCache(study, lambda number: number == 0).update([first, second])
    found = crowded.find(DEFAULT.with_values(learning_rate=1e-3), 0)
    assert found == CacheHit(profile=second)
