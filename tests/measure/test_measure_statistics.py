"""Estimates and intervals from samples."""

from __future__ import annotations

import random

import pytest
from scipy import stats

from autotune.measure import statistics
from autotune.measure.clock import Window
from autotune.measure.cost import inference_cost, training_cost
from autotune.measure.measurements import exact, inverse, product, sampled, throughput


@pytest.mark.parametrize("degrees", [1, 2, 5, 6, 7, 10, 30, 1000])
def test_t_quantile_agrees_with_scipy(degrees: int) -> None:
    assert statistics.t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=2e-4)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7.9, 30, 31, 200, float("inf")])
@pytest.mark.parametrize("value", [-4.0, -0.7, 0.0, 1.3, 12.0])
def test_t_probability_agrees_with_scipy(value: float, degrees: float) -> None:
    exact_degrees = degrees if degrees > 30 else int(degrees)
    expected = stats.t.cdf(value, exact_degrees)
    assert statistics.t_probability(value, degrees) == pytest.approx(expected, abs=2e-4)


def test_mean_has_the_t_interval() -> None:
    value, ci95 = statistics.mean([1.0, 2.0, 3.0, 4.0])
    expected = stats.t.interval(0.95, 3, loc=2.5, scale=stats.sem([1.0, 2.0, 3.0, 4.0]))
    assert value == 2.5
    assert ci95 == pytest.approx(expected, rel=1e-4)


def test_one_sample_has_no_interval() -> None:
    assert statistics.mean([3.0]) == (3.0, None)
    assert statistics.rate([8], [2.0]) == (4.0, None)
    assert statistics.median([3.0]) == (3.0, None)


def test_rate_is_total_amount_over_total_time() -> None:
    value, ci95 = statistics.rate([100, 100, 1], [1.0, 1.0, 0.1])
    assert value == pytest.approx(201 / 2.1)
    assert ci95 is not None and ci95[0] < value < ci95[1]


def test_intervals_of_rates_are_positive_and_need_three_windows() -> None:
    assert statistics.rate([9, 1], [1.0, 1.0])[1] is None
    value, ci95 = statistics.rate([1, 9, 1, 30], [1.0, 1.0, 1.0, 1.0])
    assert ci95 is not None and 0 < ci95[0] < value < ci95[1]
    assert ci95[0] * ci95[1] == pytest.approx(value**2), "symmetric on the scale of the logarithm"


def test_rate_interval_has_its_nominal_coverage() -> None:
    source, hits = random.Random(3), 0
    for _ in range(300):
        seconds = [source.uniform(0.8, 1.2) for _ in range(12)]
        amounts = [50 * s * source.gauss(1, 0.1) for s in seconds]
        _, ci95 = statistics.rate(amounts, seconds)
        assert ci95 is not None
        hits += ci95[0] <= 50 <= ci95[1]
    assert 0.90 <= hits / 300 <= 0.99


def test_percentile_interpolates() -> None:
    assert statistics.percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert statistics.percentile([1.0, 2.0], 1.0) == 2.0


def test_median_interval_is_reproducible_and_includes_the_median() -> None:
    samples = [random.Random(1).gauss(10, 1) for _ in range(40)]
    value, ci95 = statistics.median(samples)
    assert statistics.median(samples) == (value, ci95)
    assert ci95 is not None and ci95[0] <= value <= ci95[1]


def test_throughput_excludes_warm_up_but_records_it() -> None:
    windows = [Window(8, 8.0, warmup=True), Window(80, 1.0), Window(40, 0.5)]
    speed = throughput("train_samples_per_second", windows)
    assert speed.value == 80
    assert speed.samples == (80, 80) and speed.n == 2
    assert speed.warmup == (1,)
    assert speed.unit == "samples/s"


def test_throughput_of_warm_up_windows_only() -> None:
    assert throughput("train_samples_per_second", [Window(8, 2.0, warmup=True)]).value == 4


def test_intervals_of_product_and_inverse() -> None:
    speed = throughput(
        "train_samples_per_second", [Window(9, 1.0), Window(11, 1.0), Window(10, 1.0)]
    )
    referred = sampled("reference_seconds", (0.5, (0.4, 0.6)), [0.4, 0.6])
    relative = product("relative_speed", speed, referred)
    assert relative.value == 5
    assert relative.ci95 is not None and speed.ci95 is not None
    wide = (relative.ci95[1] - relative.ci95[0]) / relative.value
    assert wide > (speed.ci95[1] - speed.ci95[0]) / speed.value
    money = inverse("inference_usd_per_million", 2.0, referred)
    assert money.value == 4 and money.ci95 == pytest.approx((2 / 0.6, 2 / 0.4))


def test_cost_is_price_times_time_and_missing_without_a_price() -> None:
    assert training_cost(3.6, 100)[0].value == pytest.approx(0.1)
    speed = exact("inference_samples_per_second", 1000.0)
    assert inference_cost(3.6, speed)[0].value == pytest.approx(1.0)
    assert training_cost(None, 100) == [] and inference_cost(None, speed) == []
