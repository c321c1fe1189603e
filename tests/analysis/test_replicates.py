"""Means, intervals and variation over runs of one strategy."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import pytest
from small_studies import ACCURACY, COST, SPEED, trial

from autotune.analysis.replicates import Replicates
from autotune.domain import Measurement, Trial, TrialOrigin, TrialResult


def with_batch_size(
    number: int, batch_size: int, speed: float, accuracy: float, **fields: object
) -> Trial:
    values = {"batch_size": batch_size, "precision": "bf16"}
    base = trial(number, {SPEED: speed, ACCURACY: accuracy}, values=values, **fields)  # type: ignore[arg-type]
    score = Measurement(ACCURACY, accuracy, "ratio", 400, (accuracy - 0.04, accuracy + 0.04))
    return replace(base, result=TrialResult({**base.result.measurements, ACCURACY: score}))


FIRST, SECOND = with_batch_size(1, 16, 100.0, 0.80), with_batch_size(2, 32, 200.0, 0.70)


def repeat(number: int, original: Trial, speed: float, accuracy: float, seed: int = 1) -> Trial:
    size = original.strategy["batch_size"]
    return with_batch_size(
        number, int(size), speed, accuracy, origin=TrialOrigin.CONFIRMATION, seed=seed
    )


def test_without_replicates_an_estimate_is_the_measurement() -> None:
    replicates = Replicates([FIRST, SECOND])
    estimate = replicates.estimate(FIRST, ACCURACY)
    assert estimate is not None
    assert (estimate.value, estimate.runs) == (0.80, 1)
    assert estimate.ci95 == pytest.approx((0.76, 0.84))
    assert replicates.test_estimate(FIRST, ACCURACY) is None
    assert replicates.run_variation(SPEED) is None


def test_a_speed_is_the_mean_over_all_runs_with_a_pooled_interval() -> None:
    runs = [FIRST, SECOND, repeat(3, FIRST, 110.0, 0.78), repeat(4, SECOND, 200.0, 0.69)]
    estimate = Replicates(runs).estimate(FIRST, SPEED)
    assert estimate is not None
    assert (estimate.value, estimate.runs) == (105.0, 2)
    assert estimate.ci95 is not None
    deviation = 0.0953 / 2  # ln(110 / 100) / sqrt(2), pooled with a pair of equal values
    factor = exp(4.303 * deviation / 2**0.5)
    assert estimate.ci95 == pytest.approx((105 / factor, 105 * factor), rel=0.001)


def test_scores_have_an_estimate_on_both_splits() -> None:
    runs = [FIRST, repeat(3, FIRST, 110.0, 0.78), repeat(4, FIRST, 90.0, 0.76, seed=2)]
    replicates = Replicates(runs)
    on_validation, on_test = (
        replicates.estimate(FIRST, ACCURACY),
        replicates.test_estimate(FIRST, ACCURACY),
    )
    assert on_validation is not None and on_validation.value == 0.80
    assert on_test is not None and on_test.runs == 2
    assert on_test.value == pytest.approx(0.77)
    seeds = 12.706 * 0.02 / 2**0.5 / 2**0.5
    assert on_test.ci95 is not None
    assert on_test.ci95[1] - 0.77 == pytest.approx((0.04**2 + seeds**2) ** 0.5, rel=0.01)
    assert replicates.test_estimate(FIRST, SPEED) is None, "a speed does not depend on the split"


def test_the_variation_over_seeds_is_pooled_over_strategies() -> None:
    runs = [
        FIRST, SECOND,
        repeat(3, FIRST, 100.0, 0.78), repeat(4, FIRST, 100.0, 0.76, seed=2),
        repeat(5, SECOND, 200.0, 0.70), repeat(6, SECOND, 200.0, 0.66, seed=2),
    ]  # fmt: skip
    variation = Replicates(runs).run_variation(ACCURACY)
    assert variation is not None
    assert variation.degrees_of_freedom == 2
    assert variation.deviation == pytest.approx(((0.0002 + 0.0008) / 2) ** 0.5)


@pytest.mark.parametrize(("differences", "exceeds"), [((0.0, 0.0), False), ((-0.2, 0.2), True)])
def test_one_seed_each_gives_the_variation_beyond_that_of_samples(
    differences: tuple[float, float], exceeds: bool
) -> None:
    runs = [FIRST, SECOND, repeat(3, FIRST, 100.0, 0.80 + differences[0]),
            repeat(4, SECOND, 200.0, 0.70 + differences[1])]  # fmt: skip
    variation = Replicates(runs).run_variation(ACCURACY)
    assert variation is not None
    assert (variation.deviation > 0.1) is exceeds
    assert exceeds or variation.deviation == 0


def test_cost_has_the_relative_interval_of_the_speed() -> None:
    numbers = {
        SPEED: Measurement(SPEED, 100.0, "samples/s", 5, (80.0, 125.0)),
        "train_seconds": Measurement("train_seconds", 50.0, "s"),
        "setup_seconds": Measurement("setup_seconds", 10.0, "s"),
        COST: Measurement(COST, 1.0, "USD"),
    }
    with_cost = replace(trial(1), result=TrialResult(numbers))
    estimate = Replicates([with_cost]).estimate(with_cost, COST)
    assert estimate is not None
    assert estimate.ci95 == pytest.approx((1 + 0.8 * (0.8 - 1), 1 + 0.8 * (1.25 - 1)))


def test_an_unmeasured_metric_has_no_estimate() -> None:
    assert Replicates([FIRST]).estimate(FIRST, COST) is None
