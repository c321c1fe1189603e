"""The model that separates the effects of levers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import pytest

from autotune.analysis.lever_model import LeverModel
from autotune.domain import Value

LEVERS = ("batch_size", "padding", "compile", "learning_rate")
Settings = dict[str, Value]


def strategies(count: int, seed: int = 0) -> list[Settings]:
    rng = np.random.default_rng(seed)
    return [
        {
            "batch_size": int(rng.choice([8, 16, 32])),
            "padding": str(rng.choice(["fixed", "bucketed"])),
            "compile": bool(rng.integers(2)),
            "learning_rate": float(10 ** rng.uniform(-5, -3)),
        }
        for _ in range(count)
    ]


def value(row: Mapping[str, Value]) -> float:
    """With an interaction of batch size and padding; the learning rate has no effect."""
    size = math.log2(float(row["batch_size"]) / 8)
    is_bucketed = row["padding"] == "bucketed"
    return 0.2 * size + 0.5 * is_bucketed + 0.1 * size * is_bucketed - 0.3 * bool(row["compile"])


def fitted(rows: Sequence[Settings], noise: float = 0.02) -> LeverModel:
    errors = np.random.default_rng(1).normal(0, noise, len(rows))
    values = np.array([value(row) for row in rows]) + errors
    return LeverModel(LEVERS, rows, values, np.full(len(rows), noise**2))


BASE: Settings = {
    "batch_size": 8, "padding": "fixed", "compile": False, "learning_rate": 1e-4
}  # fmt: skip
TARGET: Settings = {
    "batch_size": 32, "padding": "bucketed", "compile": True, "learning_rate": 1e-4
}  # fmt: skip


def test_contributions_are_the_mean_over_all_orders() -> None:
    """The closed form against the definition, with the model's own differences."""
    model = fitted(strategies(30))

    def difference(changed: frozenset[str]) -> float:
        target = {lever: (TARGET if lever in changed else BASE)[lever] for lever in LEVERS}
        return float(model.contributions(BASE, target).mean.sum())

    orders = list(permutations(LEVERS))
    expected = dict.fromkeys(LEVERS, 0.0)
    for order in orders:
        for position, lever in enumerate(order):
            before = frozenset(order[:position])
            step = difference(before | {lever}) - difference(before)
            expected[lever] += step / len(orders)
    contributions = model.contributions(BASE, TARGET)
    assert dict(zip(LEVERS, contributions.mean, strict=True)) == pytest.approx(expected, abs=1e-9)


def test_intervals_contain_the_true_contributions() -> None:
    contributions = fitted(strategies(60)).contributions(BASE, TARGET)
    deviations = np.sqrt(np.diag(contributions.covariance))
    truth = np.array([0.5, 0.6, -0.3, 0.0])  # half of the interaction each
    assert (np.abs(contributions.mean - truth) < 3 * deviations + 1e-9).all()
    assert (deviations[:3] < 0.1).all() and deviations[3] == pytest.approx(0.0, abs=1e-6)


def test_more_trials_narrow_the_intervals() -> None:
    few, many = (fitted(strategies(count)).contributions(BASE, TARGET) for count in (8, 80))
    assert np.trace(many.covariance) < np.trace(few.covariance) / 4


def test_contributions_of_equal_strategies_are_zero() -> None:
    contributions = fitted(strategies(12)).contributions(BASE, BASE)
    assert np.abs(contributions.mean).max() < 1e-12
    assert np.abs(contributions.covariance).max() < 1e-12


def test_a_constant_metric_and_a_single_lever_are_modelled() -> None:
    rows: list[Settings] = [{"padding": word} for word in ("fixed", "bucketed", "fixed")]
    model = LeverModel(("padding",), rows, np.ones(3), np.zeros(3))
    contributions = model.contributions(rows[0], rows[1])
    assert contributions.mean[0] == pytest.approx(0.0, abs=1e-9)
    assert np.isfinite(contributions.covariance).all()


def test_numbers_and_words_of_one_lever_are_compared() -> None:
    """Such as the size of the micro-batch: full, or a number."""
    rows: list[Settings] = [{"micro": v} for v in ("full", 4, 8, "full", 4, 8, 0)]
    values = np.array([2.0, 1.0, 1.2, 2.0, 1.0, 1.2, 1.0])
    model = LeverModel(("micro",), rows, values, np.full(7, 1e-4))
    assert model.contributions({"micro": 4}, {"micro": "full"}).mean[0] == pytest.approx(1, abs=0.1)
