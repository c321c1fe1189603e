"""Means, intervals and spreads over runs of one strategy."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import pytest
from small_studies import ACCURACY, COST, SPEED, trial

from autotune.analysis.replicates import Replicates
from autotune.domain import Measurement, Trial, TrialOrigin, TrialResult


def sized(number: int, batch_size: int, speed: float, accuracy: float, **fields: object) -> Trial:
    values = {"batch_size": batch_size, "precision": "bf16"}
    made = trial(number, {SPEED: speed, ACCURACY: accuracy}, values=values, **fields)  # type: ignore[arg-type]
    score = Measurement(ACCURACY, accuracy, "ratio", 400, (accuracy - 0.04, accuracy + 0.04))
    return replace(made, result=TrialResult({**made.result.measurements, ACCURACY: score}))


FIRST, SECOND = sized(1, 16, 100.0, 0.80), sized(2, 32, 200.0, 0.70)


def again(number: int, of: Trial, speed: float, accuracy: float, seed: int = 1) -> Trial:
    size = of.strategy["batch_size"]
    return sized(number, int(size), speed, accuracy, origin=TrialOrigin.CONFIRMATION, seed=seed)


def test_without_repeats_a_figure_is_that_of_its_run() -> None:
    repeats = Replicates([FIRST, SECOND])
    found = repeats.estimate(FIRST, ACCURACY)
    assert found is not None
    assert (found.value, found.runs) == (0.80, 1)
    assert found.ci95 == pytest.approx((0.76, 0.84))
    assert repeats.test_estimate(FIRST, ACCURACY) is None
    assert repeats.run_variation(SPEED) is None


def test_a_speed_is_the_mean_over_all_runs_with_a_pooled_interval() -> None:
    runs = [FIRST, SECOND, again(3, FIRST, 110.0, 0.78), again(4, SECOND, 200.0, 0.69)]
    found = Replicates(runs).estimate(FIRST, SPEED)
    assert found is not None
    assert (found.value, found.runs) == (105.0, 2)
    assert found.ci95 is not None
    deviation = 0.0953 / 2  # ln(110 / 100) / sqrt(2), pooled with a pair that does not differ
    times = exp(4.303 * deviation / 2**0.5)
    assert found.ci95 == pytest.approx((105 / times, 105 * times), rel=0.001)


def test_scores_stand_on_both_splits() -> None:
    runs = [FIRST, again(3, FIRST, 110.0, 0.78), again(4, FIRST, 90.0, 0.76, seed=2)]
    repeats = Replicates(runs)
    on_validation, on_test = (
        repeats.estimate(FIRST, ACCURACY),
        repeats.test_estimate(FIRST, ACCURACY),
    )
    assert on_validation is not None and on_validation.value == 0.80
    assert on_test is not None and on_test.runs == 2
    assert on_test.value == pytest.approx(0.77)
    seeds = 12.706 * 0.02 / 2**0.5 / 2**0.5
    assert on_test.ci95 is not None
    assert on_test.ci95[1] - 0.77 == pytest.approx((0.04**2 + seeds**2) ** 0.5, rel=0.01)
    assert repeats.test_estimate(FIRST, SPEED) is None, "a speed knows no split"


def test_the_spread_over_seeds_is_pooled_over_strategies() -> None:
    runs = [
        FIRST, SECOND,
        again(3, FIRST, 100.0, 0.78), again(4, FIRST, 100.0, 0.76, seed=2),
        again(5, SECOND, 200.0, 0.70), again(6, SECOND, 200.0, 0.66, seed=2),
    ]  # fmt: skip
    spread = Replicates(runs).run_variation(ACCURACY)
    assert spread is not None
    assert spread.degrees_of_freedom == 2
    assert spread.deviation == pytest.approx(((0.0002 + 0.0008) / 2) ** 0.5)


@pytest.mark.parametrize(("gaps", "more"), [((0.0, 0.0), False), ((-0.2, 0.2), True)])
def test_one_seed_each_tells_what_examples_do_not_explain(
    gaps: tuple[float, float], more: bool
) -> None:
    runs = [FIRST, SECOND, again(3, FIRST, 100.0, 0.80 + gaps[0]),
            again(4, SECOND, 200.0, 0.70 + gaps[1])]  # fmt: skip
    spread = Replicates(runs).run_variation(ACCURACY)
    assert spread is not None
    assert (spread.deviation > 0.1) is more
    assert more or spread.deviation == 0


def test_money_is_as_unsure_as_the_speed_it_follows_from() -> None:
    numbers = {
        SPEED: Measurement(SPEED, 100.0, "samples/s", 5, (80.0, 125.0)),
        "train_seconds": Measurement("train_seconds", 50.0, "s"),
        "setup_seconds": Measurement("setup_seconds", 10.0, "s"),
        COST: Measurement(COST, 1.0, "USD"),
    }
    paid = replace(trial(1), result=TrialResult(numbers))
    found = Replicates([paid]).estimate(paid, COST)
    assert found is not None
    assert found.ci95 == pytest.approx((1 + 0.8 * (0.8 - 1), 1 + 0.8 * (1.25 - 1)))


def test_a_metric_that_was_not_measured_has_no_figure() -> None:
    assert Replicates([FIRST]).estimate(FIRST, COST) is None
