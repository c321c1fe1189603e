"""A finalist that its confirmation runs refute gives its place to the next one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autotune.analysis.recommendation import Recommender, Status
from autotune.analysis.refutation import Refutations
from autotune.domain import (
    Budget,
    Confirmation,
    Constraint,
    FailureReason,
    Measurement,
    State,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.measure.correctness import pack_correctness
from autotune.tuner.confirmation import next_confirmation
from autotune.tuner.finalists import finalists
from tests.tuner.small_study import finished_trial
from tests.tuner.test_confirmation import history

EXAMPLES = 2000
DIFFICULTY = np.random.default_rng(1).permutation(np.linspace(0, 1, EXAMPLES))


def confirmation_run(number: int, trial: Trial, seed: int, accuracy: float, speed: float) -> Trial:
    """A confirmation run: each example is as hard for all strategies, up to some noise."""
    noise = np.random.default_rng([seed, number]).normal(0, 0.05, EXAMPLES)
    ranks = np.argsort(np.argsort(DIFFICULTY + noise))
    hits = ranks < round(accuracy * EXAMPLES)
    value = float(hits.mean())
    measurements = {
        "accuracy": Measurement("accuracy", value, "ratio", EXAMPLES, (value - 0.02, value + 0.02)),
        "train_samples_per_second": Measurement(
            "train_samples_per_second", speed, "samples/s", 5, (0.98 * speed, 1.02 * speed)
        ),
    }
    result = TrialResult(measurements, correctness=pack_correctness("test", hits))
    run = finished_trial(number, trial.strategy, origin=TrialOrigin.CONFIRMATION, seed=seed)
    return replace(run, result=result)


def confirmed(
    study: Study, trial: Trial, accuracies: list[float], speed: float = 300.0
) -> list[Trial]:
    """The history, with runs of the default (70%) and of ``trial`` for each seed."""
    trials = history(study)
    for seed, accuracy in enumerate(accuracies, start=1):
        trials.append(confirmation_run(len(trials), trials[0], seed, 0.7, 100.0))
        trials.append(confirmation_run(len(trials), trial, seed, accuracy, speed))
    return trials


@pytest.fixture
def goal(study: Study) -> Study:
    """At most one point less accurate than the default."""
    return replace(
        study,
        constraints=(Constraint("accuracy", ">=", -0.01, relative=True),),
        confirm=Confirmation(1, 2),
        budget=Budget(minutes=60),
    )


@pytest.mark.parametrize(("accuracy", "is_refuted"), [(0.70, False), (0.69, False), (0.65, True)])
def test_a_constraint_refutes(goal: Study, accuracy: float, is_refuted: bool) -> None:
    """At the bound itself the runs decide nothing."""
    finalist = history(goal)[3]
    trials = confirmed(goal, finalist, [accuracy])
    assert Refutations(goal, trials).is_refuted(finalist) is is_refuted


def test_a_finalist_that_cannot_be_recommended_after_all_runs_is_replaced(goal: Study) -> None:
    ranked = finalists(goal, history(goal), 3)
    first, *_ = (trial for trial in ranked if trial.strategy != goal.baseline)
    once = confirmed(goal, first, [0.687])
    assert next_confirmation(goal, once) == (goal.baseline, 2), "it has another run to come"
    undecided = confirmed(goal, first, [0.687, 0.687])
    assert Recommender(goal, undecided).status(first) is Status.UNDECIDED
    run = next_confirmation(goal, undecided)
    assert run is not None and run[0] not in (first.strategy, goal.baseline) and run[1] == 1


def test_a_finalist_of_which_a_run_failed_is_neither_recommended_nor_run_again(goal: Study) -> None:
    ranked = finalists(goal, history(goal), 3)
    finalist = next(trial for trial in ranked if trial.strategy != goal.baseline)
    trials = confirmed(goal, finalist, [0.72])
    assert finalist.number in {t.number for t in Recommender(goal, trials).acceptable}
    failed = replace(
        trials[-1],
        state=State.INFEASIBLE,
        failure=FailureReason.OUT_OF_MEMORY,
        result=TrialResult(),
    )
    trials[-1] = failed
    recommender = Recommender(goal, trials)
    assert recommender.status(finalist) is Status.REFUTED
    assert finalist.number not in {trial.number for trial in recommender.acceptable}
    run = next_confirmation(goal, trials)
    assert run is not None and run[0] != finalist.strategy
    lost = replace(failed, state=State.FAILED, failure=FailureReason.INFRASTRUCTURE)
    trials[-1] = lost
    assert Recommender(goal, trials).status(finalist) is Status.UNCONFIRMED


def test_a_finalist_that_is_worse_than_the_default_is_refuted(study: Study) -> None:
    free = replace(study, constraints=())
    finalist = history(free)[3]
    slower = Refutations(free, confirmed(free, finalist, [0.65, 0.65], speed=90.0))
    assert slower.is_refuted(finalist)
    faster = Refutations(free, confirmed(free, finalist, [0.65, 0.65], speed=300.0))
    assert not faster.is_refuted(finalist), "a trade-off"


def test_a_strategy_that_was_never_confirmed_is_not_refuted(study: Study) -> None:
    """It violates a bound on the memory, which only its own run measured."""
    bounded = replace(study, constraints=(Constraint("peak_memory_gib", "<=", 1.0),))
    trials = [
        replace(
            trial,
            result=replace(
                trial.result,
                measurements={
                    **trial.result.measurements,
                    "peak_memory_gib": Measurement("peak_memory_gib", 2.0, "GiB"),
                },
            ),
        )
        for trial in history(study)
    ]
    recommender = Recommender(bounded, trials)
    assert {recommender.status(trial) for trial in trials} == {Status.UNCONFIRMED}
    assert recommender.closest is not None, "what comes closest is named"


def test_an_absolute_bound_is_compared_with_test_scores(study: Study) -> None:
    absolute = replace(study, constraints=(Constraint("accuracy", ">=", 0.7),))
    finalist = history(study)[3]
    for accuracy, is_refuted in ((0.74, False), (0.66, True)):
        trials = confirmed(absolute, finalist, [accuracy, accuracy])
        assert Refutations(absolute, trials).is_refuted(finalist) is is_refuted


def test_the_next_finalist_takes_the_place(goal: Study) -> None:
    ranked = finalists(goal, history(goal), 3)
    first, *_ = (trial for trial in ranked if trial.strategy != goal.baseline)
    trials = confirmed(goal, first, [0.65])
    run = next_confirmation(goal, trials)
    assert run is not None and run[1] == 1, "without a second seed of the first"
    second = next(trial for trial in trials if trial.strategy == run[0])
    assert second.strategy not in (first.strategy, goal.baseline)
    trials.append(confirmation_run(len(trials), second, 1, 0.72, 250.0))
    assert next_confirmation(goal, trials) == (goal.baseline, 2)
    trials.append(confirmation_run(len(trials), trials[0], 2, 0.7, 100.0))
    assert next_confirmation(goal, trials) == (second.strategy, 2)
    trials.append(confirmation_run(len(trials), second, 2, 0.72, 250.0))
    assert next_confirmation(goal, trials) is None


def test_not_every_strategy_is_confirmed_at_last(goal: Study) -> None:
    """A budget without an end would otherwise be used for all strategies of the space."""
    trials = history(goal)
    trials += [
        finished_trial(5 + n, goal.baseline.with_values(learning_rate=2e-4 + n * 1e-6))
        for n in range(8)
    ]
    num_runs = 0
    while (run := next_confirmation(goal, trials)) is not None:
        strategy, seed = run
        accuracy = 0.7 if strategy == goal.baseline else 0.6
        trial = replace(trials[0], strategy=strategy)
        trials.append(confirmation_run(len(trials), trial, seed, accuracy, 300.0))
        num_runs += 1
    assert num_runs <= 5, "the default and at most four finalists, with one seed"
    assert all(trial.state is State.COMPLETE for trial in trials)
