"""Shrinkage: no winner's curse, and intervals that hold, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.analysis.metric_posterior import INTERVAL_QUANTILE
from autotune.analysis.mixed_model import Floats, Measurements, fit_groups

NOISE, OFFSET = 0.02, 0.015
STUDIES = 200


def simulate(
    rng: np.random.Generator, groups: int, effects: float, deviations: float, diverged: float = 0.0
) -> tuple[Floats, Floats, Measurements]:
    """Features, true values and one measurement of each group. All measurements share an offset,
    as scores on one split do; a share of the trainings has ``diverged``."""
    features = rng.choice([-1.0, 0.0, 1.0], size=(groups, 7))
    truth = 0.6 + features @ rng.normal(0, effects, 7) + rng.normal(0, deviations, groups)
    truth -= (rng.random(groups) < diverged) * rng.uniform(0.1, 0.4, groups)
    values = truth + rng.normal(0, NOISE, groups) + rng.normal(0, OFFSET)
    shared = np.array([OFFSET**2])
    noise = np.full(groups, NOISE**2)
    measurements = Measurements(np.arange(groups), values, noise, np.ones((groups, 1)), shared)
    return features, truth, measurements


@pytest.mark.parametrize(
    ("groups", "effects", "deviations", "diverged"),
    [(20, 0.02, 0.02, 0.0), (60, 0.02, 0.01, 0.0), (40, 0.02, 0.01, 0.15)],
)
def test_the_best_of_many_is_not_overestimated(
    groups: int, effects: float, deviations: float, diverged: float
) -> None:
    rng = np.random.default_rng(groups)
    errors, gains, hits, raw_errors = [], [], [], []
    for _ in range(STUDIES):
        features, truth, measurements = simulate(rng, groups, effects, deviations, diverged)
        posterior = fit_groups(features, measurements)
        means, spreads = posterior.moments()
        best = int(np.argmax(means))
        error = (means[best] - truth[best]) / spreads[best]
        errors.append(error)
        hits.append(abs(error) < INTERVAL_QUANTILE)
        difference, spread = (moment[best] for moment in posterior.difference_moments(0))
        if best:
            gains.append((difference - (truth[best] - truth[0])) / spread)
        luckiest = int(np.argmax(measurements.values))
        raw_errors.append((measurements.values[luckiest] - truth[luckiest]) / NOISE)
    assert abs(np.mean(errors)) < 0.2 and abs(np.mean(gains)) < 0.25
    assert np.mean(raw_errors) > 0.4, "single measurements are subject to the winner's curse"
    assert 0.925 <= np.mean(hits) <= 0.985, "three standard errors around 93 to 97%"
    assert 0.92 <= np.mean(np.abs(gains) < INTERVAL_QUANTILE) <= 0.99


def test_groups_with_one_measurement_and_exact_values() -> None:
    measurements = Measurements(
        np.arange(2), np.array([1.0, 3.0]), np.zeros(2), np.zeros((2, 0)), np.zeros(0)
    )
    means, spreads = fit_groups(np.zeros((2, 0)), measurements).moments()
    assert means == pytest.approx([1.0, 3.0], abs=1e-3) and (spreads < 1e-3).all()


def test_samples_agree_with_the_moments() -> None:
    features, _, measurements = simulate(np.random.default_rng(1), 20, 0.02, 0.02)
    posterior = fit_groups(features, measurements)
    means, spreads = posterior.moments()
    samples = posterior.sample(np.arange(20), 4000, np.random.default_rng(2))
    assert samples.mean(axis=0) == pytest.approx(means, abs=0.002)
    assert samples.std(axis=0) == pytest.approx(spreads, rel=0.1)
    differences, wide = posterior.difference_moments(3)
    paired = samples - samples[:, [3]]
    assert paired.mean(axis=0) == pytest.approx(differences, abs=0.002)
    assert paired.std(axis=0)[4:] == pytest.approx(wide[4:], rel=0.1) and wide[3] == 0
