"""Selecting a trial by a query."""

from __future__ import annotations

import pytest
from small_studies import ACCURACY, COST, SPEED, study, trial, trials

from autotune.analysis.select import find_trial_number, select_trial
from autotune.domain import State
from autotune.errors import ExpressionError, NotFoundError, UsageError

STUDY = study(SPEED, ACCURACY, COST)
TRIALS = [
    *trials((10, 0.90, 4.0), (20, 0.89, 2.0), (40, 0.70, 3.0), metrics=(SPEED, ACCURACY, COST)),
    trial(3, state=State.INFEASIBLE, reason="out of memory"),
]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("2", 2),
        (" 0 ", 0),
        ("knee", 1),
        ("fastest", 2),
        ("most-accurate", 0),
        ("cheapest", 1),
        ("accuracy >= 0.88 then most-accurate", 0),
        ("batch_size == 16 then most-accurate", 1),
        ("precision == fp32 or cost_usd < 3 then fastest", 1),
        ("accuracy >= 0.86 then cheapest", 1),
        ("accuracy > 0.5 then knee", 1),
    ],
)
def test_queries(query: str, number: int) -> None:
    assert select_trial(STUDY, TRIALS, query).number == number


def test_a_number_must_be_a_complete_trial() -> None:
    with pytest.raises(NotFoundError, match="no trial 9"):
        select_trial(STUDY, TRIALS, "9")
    with pytest.raises(UsageError, match="trial 3 of study tiny is infeasible: out of memory"):
        select_trial(STUDY, TRIALS, "3")


def test_a_trial_to_show_may_be_in_any_state() -> None:
    assert find_trial_number(STUDY, TRIALS, "3") == 3
    assert find_trial_number(STUDY, TRIALS, "knee") == 1
    with pytest.raises(NotFoundError, match="no trial 9"):
        find_trial_number(STUDY, TRIALS, "9")


def test_unknown_words_suggest_the_closest() -> None:
    with pytest.raises(UsageError) as caught:
        select_trial(STUDY, TRIALS, "fatest")
    assert "did you mean fastest?" in str(caught.value.hint)


def test_conditions_are_checked() -> None:
    with pytest.raises(ExpressionError):
        select_trial(STUDY, TRIALS, "accurcy >= 0.9 then cheapest")
    with pytest.raises(NotFoundError, match="satisfies accuracy >= 2"):
        select_trial(STUDY, TRIALS, "accuracy >= 2 then cheapest")
    with pytest.raises(NotFoundError, match="satisfies energy_wh < 3"):
        select_trial(STUDY, TRIALS, "energy_wh < 3 then cheapest")


def test_no_trial_to_choose_from() -> None:
    with pytest.raises(NotFoundError, match="no trial of study tiny is complete"):
        select_trial(STUDY, TRIALS[3:], "knee")
    with pytest.raises(NotFoundError, match="measured none of cost_usd"):
        select_trial(study(), trials((1, 0.5)), "cheapest")


def test_an_objective_has_priority_over_another_metric() -> None:
    members = trials((10, 9, 0.8), (5, 1, 0.8), metrics=(SPEED, "train_seconds", ACCURACY))
    assert select_trial(study("train_seconds", ACCURACY), members, "fastest").number == 1
    assert select_trial(study(SPEED, ACCURACY), members, "fastest").number == 0
