"""The strategies that are confirmed, in order."""

from __future__ import annotations

from dataclasses import replace

from autotune.domain import (
    Constraint,
    Measurement,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.tuner.finalists import complete_default, expected_finalists, finalists
from tests.tuner.small_study import finished_trial


def measured(number: int, strategy: Strategy, speed: float, accuracy: float) -> Trial:
    """A trial evaluated on 1,000 examples."""
    half = 1.96 * (accuracy * (1 - accuracy) / 1000) ** 0.5
    measurements = {
        "train_samples_per_second": Measurement(
            "train_samples_per_second", speed, "samples/s", 9, (0.97 * speed, 1.03 * speed)
        ),
        "accuracy": Measurement(
            "accuracy", accuracy, "ratio", 1000, (accuracy - half, accuracy + half)
        ),
    }
    return replace(finished_trial(number, strategy), result=TrialResult(measurements))


def goal(study: Study) -> Study:
    return replace(study, constraints=(Constraint("accuracy", ">=", -0.01, relative=True),))


def test_a_strategy_that_may_violate_a_constraint_comes_last(study: Study) -> None:
    """The fastest one is just within the constraint, as measured."""
    base = study.baseline
    trials = [
        measured(0, base, 100.0, 0.70),
        measured(1, base.with_values(pruning_ratio=0.75, threads=1), 400.0, 0.692),
        measured(2, base.with_values(learning_rate=2e-4, batch_size=32), 150.0, 0.80),
    ]
    assert [trial.number for trial in finalists(goal(study), trials, 3)] == [2, 0, 1]


def test_each_model_comes_once_before_others_of_the_same(study: Study) -> None:
    """The number of threads changes the speed alone."""
    base = study.baseline
    other = base.with_values(batch_size=32)
    trials = [
        measured(0, base, 100.0, 0.80),
        measured(1, other, 200.0, 0.795),
        measured(2, other.with_values(threads=1), 150.0, 0.795),
        measured(3, base.with_values(batch_size=16), 120.0, 0.79),
    ]
    for searched in (study, goal(study)):
        assert {t.number for t in finalists(searched, trials, 4)[:3]} == {0, 1, 3}
        assert finalists(searched, trials, 4)[3].number == 2
    violating = measured(4, base.with_values(learning_rate=1e-3), 300.0, 0.5)
    numbers = [trial.number for trial in finalists(goal(study), [*trials, violating], 5)]
    assert numbers.index(2) < numbers.index(4)


def test_the_recommended_one_comes_first_also_if_others_train_the_same_model(study: Study) -> None:
    base = study.baseline
    best = base.with_values(batch_size=32)
    trials = [
        measured(0, base, 100.0, 0.80),
        measured(1, best, 200.0, 0.85),
        measured(2, base.with_values(batch_size=16), 120.0, 0.82),
        measured(3, best.with_values(threads=1), 90.0, 0.85),
    ]
    assert [trial.number for trial in finalists(goal(study), trials, 4)] == [1, 2, 0, 3]


def test_members_of_the_front_are_ranked_by_what_is_believed(study: Study) -> None:
    """The first run of the fastest is below the bound, but its replicates are not."""
    base = study.baseline
    speeds, accuracies = (100.0, 170.0, 110.0, 200.0), (0.80, 0.825, 0.84, 0.83)
    strategies = [base, base.with_values(learning_rate=2e-4), base.with_values(batch_size=16),
                  base.with_values(batch_size=32)]  # fmt: skip
    rows = list(zip(strategies, speeds, accuracies, strict=True))
    trials = [measured(n, *row) for n, row in enumerate(rows)]
    trials[3] = measured(3, strategies[3], speeds[3], 0.785)
    for seed in (101, 102):
        for row in rows:
            run = measured(len(trials), *row)
            trials.append(replace(run, origin=TrialOrigin.REPLICATE, seed=seed))
    assert [trial.number for trial in finalists(goal(study), trials, 4)] == [2, 3, 1, 0]


def test_confirmation_runs_do_not_change_the_order(study: Study) -> None:
    """What to run follows from the search, so that a strategy keeps its place."""
    base = study.baseline
    trials = [
        measured(0, base, 100.0, 0.70),
        measured(1, base.with_values(batch_size=16), 150.0, 0.75),
        measured(2, base.with_values(batch_size=32), 200.0, 0.74),
    ]
    ranked = finalists(study, trials, 3)
    worse = measured(3, ranked[0].strategy, 50.0, 0.6)
    run = replace(worse, origin=TrialOrigin.CONFIRMATION, seed=1)
    assert finalists(study, [*trials, run], 3) == ranked


def test_time_is_reserved_for_the_default_and_the_front(study: Study) -> None:
    base = study.baseline
    trials = [
        measured(0, base, 100.0, 0.70),
        measured(1, base.with_values(batch_size=16), 150.0, 0.75),
        measured(2, base.with_values(batch_size=32), 140.0, 0.74),
    ]
    assert [trial.number for trial in expected_finalists(study, trials)] == [0, 1]
    assert expected_finalists(study, trials[:1]) == [], "nothing to compare with the default"
    assert complete_default(study, trials[1:]) == []


def test_time_is_reserved_for_what_comes_closest_to_a_constraint(study: Study) -> None:
    """It is confirmed too, though its score is below the bound as measured."""
    base = study.baseline
    default, close = (
        measured(0, base, 100.0, 0.80),
        measured(1, base.with_values(batch_size=32), 200.0, 0.785),
    )
    assert expected_finalists(goal(study), [default]) == []
    assert expected_finalists(goal(study), [default, close]) == [default, close]
    assert close in finalists(goal(study), [default, close], 2)
