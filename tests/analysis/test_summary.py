"""Figures and texts about a study."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from small_studies import ACCURACY, COST, SPEED, START, study, trial, trials

from autotune.analysis.budget import busy_seconds
from autotune.analysis.recommendation import Recommender
from autotune.analysis.recommendation_text import describe_best
from autotune.analysis.summary import believed_bests, best_trials, budget_use, count_by_state
from autotune.analysis.text import (
    format_estimate,
    format_interval,
    format_metric,
    format_ratio,
    format_ratio_to_default,
)
from autotune.domain import Budget, State

METRICS3 = (SPEED, ACCURACY, COST)

DEFAULT, OTHER = trials((100, 0.812, 1.0), (280, 0.808, 0.39), metrics=METRICS3)


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.389, "0.39x"), (1.04, "1.04x"), (2.79, "2.8x"), (13.2, "13x")]
)
def test_ratios_have_two_significant_digits(ratio: float, text: str) -> None:
    assert format_ratio(ratio) == text


def test_ratio_to_default_needs_both_values() -> None:
    assert format_ratio_to_default(SPEED, OTHER, DEFAULT) == "2.8x?", "they have no intervals"
    assert format_ratio_to_default(ACCURACY, OTHER, DEFAULT) == "1.00x?"
    assert format_ratio_to_default(SPEED, OTHER, None) is None
    assert format_ratio_to_default("energy_wh", OTHER, DEFAULT) is None


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (SPEED, 1234.56, "1,234.6 samples/s"),
        (ACCURACY, 0.8125, "81.2%"),
        ("mcc", -0.2, "-0.200"),
        (COST, 0.00012, "$0.000120"),
        (COST, 12.5, "$12.50"),
        ("peak_memory_gib", None, "not measured"),
    ],
)
def test_values_have_a_unit(metric: str, value: float | None, text: str) -> None:
    assert format_metric(metric, value) == text


def test_the_unit_can_be_omitted() -> None:
    assert format_metric(SPEED, 212.44, unit=False) == "212.4"
    assert format_metric(ACCURACY, 0.8125, unit=False) == "81.2%"


@pytest.mark.parametrize(
    ("metric", "value", "ci95", "text"),
    [
        (SPEED, 212.44, (206.0, 218.8), "212.4 ±3%"),
        (SPEED, 212.44, None, "212.4"),
        (ACCURACY, 0.8125, (0.7935, 0.8315), "81.2% ±1.9"),
        (ACCURACY, 0.0, (0.0, 0.02), "0.0% ±1.0"),
        ("pearson", 0.334, (0.234, 0.434), "0.334 ±0.100"),
        ("mcc", 0.0, (-0.1, 0.1), "0.000 ±0.100"),
        ("energy_wh", 1.0, (-1.0, 4.0), "1.000 ±>100%"),
        (COST, 0.0, (0.0, 0.0), "$0.000000 ±0%"),
    ],
)
def test_estimates_have_half_their_interval(
    metric: str, value: float, ci95: tuple[float, float] | None, text: str
) -> None:
    assert format_estimate(metric, value, ci95) == text


def test_intervals_have_no_unit() -> None:
    assert format_interval(SPEED, (205.12, 217.7)) == "205.1 to 217.7"
    assert format_interval(ACCURACY, (0.7, 0.75)) == "70.0% to 75.0%"
    assert format_interval("unknown_metric", (1.0, 2.0)) == "1 to 2"
    assert format_interval(SPEED, None) == ""


def test_counts_and_best() -> None:
    members = [DEFAULT, OTHER, trial(2, state=State.FAILED)]
    assert count_by_state(members)[State.COMPLETE] == 2
    assert count_by_state(members)[State.QUEUED] == 0
    budgeted = study(*METRICS3)
    assert [
        (b.objective.metric, b.trial.number, b.value) for b in best_trials(budgeted, members)
    ] == [
        (SPEED, 1, 280.0),
        (ACCURACY, 0, 0.812),
        (COST, 1, 0.39),
    ]
    assert best_trials(budgeted, []) == []


def test_best_values_are_those_that_are_believed() -> None:
    bests = believed_bests(Recommender(study(*METRICS3), [DEFAULT, OTHER]))
    assert [(b.objective.metric, b.trial.number) for b in bests] == [
        (SPEED, 1),
        (ACCURACY, 0),
        (COST, 1),
    ]
    assert all(b.belief.ci95[0] <= b.belief.value <= b.belief.ci95[1] for b in bests)
    assert [b.comparison is None for b in bests] == [False, True, False]
    value, factor = r"[\d.]+ samples/s \([\d.]+ to [\d.]+\)", r"[\d.]+x \([\d.]+x to [\d.]+x\)"
    assert re.fullmatch(f"{value}, {factor}, not confirmed", describe_best(bests[0]))
    assert re.fullmatch(r"[\d.]+% \([\d.]+% to [\d.]+%\)", describe_best(bests[1]))
    assert believed_bests(Recommender(study(*METRICS3), [])) == []


def test_budget_counts_the_time_in_which_a_trial_ran() -> None:
    budgeted = study(budget=Budget(trials=10, minutes=20))
    overlapping = replace(OTHER, started_at=START + timedelta(seconds=30))
    later = trial(20, state=State.RUNNING)
    now = START + timedelta(minutes=20, seconds=30)
    used = {use.name: use for use in budget_use(budgeted, [DEFAULT, overlapping, later], now)}
    assert used["minutes"].used == pytest.approx((110 + 30) / 60)
    assert used["trials"].share == 0.3
    assert used["usd"].used == pytest.approx(1.39)
    assert used["usd"].share is None
    assert busy_seconds([later]) == 0.0
