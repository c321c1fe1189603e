"""The plan of a budget in minutes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_studies import study

from autotune.analysis.plan import (
    affordable_samples,
    describe_default,
    plan_budget,
    seconds_at_profile,
    warn_of_plan,
)
from autotune.domain import Budget, Confirmation, CurvePoint, ExecutorConfig, Limits, Study, Task

CONFIRM = Confirmation(top=3)


def planned(minutes: float | None = 15, **changes: Any) -> Study:
    budget = Budget(minutes=minutes, trials=changes.pop("trials", None))
    return replace(study(), budget=budget, **changes)


@pytest.mark.parametrize(
    ("changes", "seconds", "trials", "reserve"),
    [
        ({}, 60, 14, 0),
        ({"trials": 10}, 60, 10, 0),
        ({"confirm": CONFIRM}, 60, 10, 4),
        ({"confirm": CONFIRM}, 180, 2, 5),
        ({"confirm": CONFIRM}, 1000, 0, 0),
        ({"executor": ExecutorConfig("ray", 2)}, 60, 28, 0),
    ],
)
def test_the_trials_that_fit(
    changes: dict[str, Any], seconds: float, trials: int, reserve: float
) -> None:
    plan = plan_budget(planned(**changes), seconds)
    assert plan is not None
    assert (plan.trials, plan.reserve) == (trials, pytest.approx(reserve))


def test_the_plan_in_words() -> None:
    assert describe_default(planned(confirm=CONFIRM), 72) == (
        "the default takes about 1.2 of 15 minutes, up to 4.8 are kept to confirm; "
        "7 other trials of its length can follow, more if they are faster"
    )
    assert "no other trial" in describe_default(planned(), 500)
    assert describe_default(planned(4), 300) == "the default takes about 5.0 of 4 minutes"
    assert describe_default(planned(None, trials=24), 60) == (
        "the default takes about 1.0 minutes; 24 trials of its length take about 24, "
        "less if they are faster"
    )


def test_a_continued_study_has_used_a_part() -> None:
    plan = plan_budget(planned(), 60, used_seconds=600)
    assert plan is not None and plan.trials == 5


def test_a_warning_says_what_to_set() -> None:
    assert warn_of_plan(planned(), 60) is None
    assert warn_of_plan(planned(trials=4), 60) is None, "the study asks for no more"
    assert warn_of_plan(planned(None), 600) is None
    warning = warn_of_plan(planned(4), 300, train_samples=3000)
    assert warning == (
        "the default alone takes the whole budget; it runs to its end: for 8 trials, "
        "--set budget.minutes=45 or --set task.train_samples=260"
    )
    few = warn_of_plan(planned(4), 300, train_samples=1000)
    assert few is not None and few.endswith("for 8 trials, --set budget.minutes=45")
    of_steps = warn_of_plan(planned(task=Task(steps=100)), 300)
    assert of_steps is not None and of_steps.endswith("budget.minutes=45 or --set task.steps=33")
    limited = planned(100, limits=Limits(minutes=4))
    assert warn_of_plan(limited, 60) is None
    assert warn_of_plan(limited, 300) == (
        "the default takes longer than a trial may and is ended after 4 minutes: "
        "--set limits.minutes=8"
    )


@pytest.mark.parametrize("confirm", [None, CONFIRM])
@pytest.mark.parametrize("minutes", [1, 4, 15])
def test_what_is_proposed_is_enough(minutes: float, confirm: Confirmation | None) -> None:
    short = planned(minutes, confirm=confirm)
    warning = warn_of_plan(short, 300)
    assert warning is not None
    enough = float(warning.rpartition("=")[2])
    assert warn_of_plan(planned(enough, confirm=confirm), 300) is None


@pytest.mark.parametrize("confirm", [None, CONFIRM])
def test_the_affordable_number_of_samples_is_enough(confirm: Confirmation | None) -> None:
    """A default of 10 s and a second for 100 samples."""
    short = planned(15, confirm=confirm)
    samples = affordable_samples(short, 310, 300, 30_000)
    assert 1000 < samples < 30_000 and warn_of_plan(short, 10 + samples / 100) is None
    assert affordable_samples(short, 20, 10, 1000) == 1000, "all fit"
    assert affordable_samples(planned(1), 310, 300, 30_000) == 100, "not fewer"
    assert affordable_samples(planned(1), 310, 300, 80) == 80


def test_the_time_of_the_default_follows_from_its_profile() -> None:
    point = CurvePoint(10, 100, 80, 5.0, 0.7, {"train_seconds": 61.0, "setup_seconds": 1.0})
    assert seconds_at_profile(point, elapsed=12.0) == 12 + 55
    assert seconds_at_profile(CurvePoint(10, 100, 80, 5.0, 0.7), 12.0) is None
