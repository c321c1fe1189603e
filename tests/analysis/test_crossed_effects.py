"""Coverage of the intervals of paired differences, in simulated studies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from autotune.analysis.crossed_effects import (
    SeedVariance,
    example_difference,
    pooled_seed_variance,
    validated_seed_variance,
)

Floats = NDArray[np.float64]

STRATEGIES, EXAMPLES, VALIDATION, STUDIES = 4, 400, 400, 1000
EXAMPLE_DEVIATION, SEED_DEVIATION, OWN_DEVIATION = 2.0, 0.15, 0.7
"""Of the log-odds of a correct label: between examples, between seeds of one strategy, and of one
strategy on one example."""


def simulate(rng: np.random.Generator, seeds: int, examples: int, effect: float) -> Floats:
    """Hits of shape (strategies, seeds, examples). The log-odds of the first strategy are higher by
    ``effect``, and its seeds vary by 2 points of accuracy, as those of the others."""
    difficulty = rng.normal(0.0, EXAMPLE_DEVIATION, examples)
    own = rng.normal(0.0, OWN_DEVIATION, (STRATEGIES, 1, examples))
    seed = rng.normal(0.0, SEED_DEVIATION, (STRATEGIES, seeds, 1))
    log_odds = difficulty + own + seed
    log_odds[0] += effect
    probability = 1 / (1 + np.exp(-log_odds))
    return np.asarray(rng.random(probability.shape) < probability, dtype=float)


def true_difference(effect: float) -> float:
    """The expected difference of accuracy, over examples and seeds."""
    deviation = np.sqrt(EXAMPLE_DEVIATION**2 + OWN_DEVIATION**2 + SEED_DEVIATION**2)
    log_odds = np.random.default_rng(0).normal(0.0, deviation, 400_000)
    shares = [(1 / (1 + np.exp(-log_odds - shift))).mean() for shift in (effect, 0.0)]
    return float(shares[0] - shares[1])


def coverage(seeds: int, *, pool: bool = True) -> float:
    """The share of studies in whose 95% interval the true difference is."""
    rng, effect, covered = np.random.default_rng(seeds), -0.2, 0
    truth = true_difference(effect)
    for _ in range(STUDIES):
        hits = simulate(rng, seeds, EXAMPLES, effect)
        variance = pooled_seed_variance(list(hits)) if pool else None
        low, high = example_difference(hits[0] - hits[1], variance).ci95
        covered += low <= truth <= high
    return covered / STUDIES


@pytest.mark.parametrize("seeds", [2, 3])
def test_intervals_hold(seeds: int) -> None:
    assert 0.93 <= coverage(seeds) <= 0.97


def test_the_choice_of_seeds_is_a_part_of_the_error() -> None:
    assert coverage(2, pool=False) < 0.88


def test_with_one_seed_validation_scores_tell_the_variance_between_seeds() -> None:
    rng, effect, covered = np.random.default_rng(7), -0.2, 0
    truth = true_difference(effect)
    for _ in range(STUDIES):
        hits = simulate(rng, 2, EXAMPLES + VALIDATION, effect)
        test, validation = hits[:, 0, :EXAMPLES], hits[:, 1, EXAMPLES:].mean(axis=1)
        variance = validated_seed_variance(test, validation.tolist(), VALIDATION)
        low, high = example_difference(test[None, 0] - test[None, 1], variance).ci95
        covered += low <= truth <= high
    assert 0.94 <= covered / STUDIES <= 0.99


def test_the_error_falls_with_examples_and_seeds() -> None:
    difference = np.tile([1.0, -1.0, 0.0, 0.0], (2, 100))
    few = example_difference(difference[:, :100], SeedVariance(1e-4, 2e-4, 4))
    many = example_difference(difference, SeedVariance(1e-4, 2e-4, 4))
    more_seeds = example_difference(np.tile(difference, (4, 1)), SeedVariance(1e-4, 2e-4, 4))
    assert few.location == many.location == 0
    assert more_seeds.scale < many.scale < few.scale
    assert many.degrees < few.degrees, "the more examples, the more the seeds matter"


def test_equal_predictions_do_not_prove_equality() -> None:
    estimate = example_difference(np.zeros((1, 50)), None)
    assert 0.01 < estimate.ci95[1] < 0.1
