"""What ended a search, what was used and what is left, and a default that takes all the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autotune.analysis.budget import BudgetUsage
from autotune.domain import Budget, Confirmation, State, Strategy, Study, Trial, TrialOrigin
from autotune.tuner.confirmation import next_confirmation
from autotune.tuner.ending import describe_end
from autotune.tuner.turn import Turn
from tests.tuner.small_study import finished_trial, make_turn

START = datetime(2026, 1, 1, tzinfo=UTC)


def lasting(minutes: float, number: int, strategy: Strategy, **changes: Any) -> Trial:
    """A trial that ran for ``minutes``, an hour after the one before."""
    start = START + timedelta(hours=number)
    return finished_trial(
        number,
        strategy,
        started_at=start,
        finished_at=start + timedelta(minutes=minutes),
        **changes,
    )


def turn_with(study: Study, history: Sequence[Trial], **budget: Any) -> Turn:
    study = replace(study, confirm=Confirmation(2), budget=Budget(**budget))
    return make_turn(study, history, usage=BudgetUsage(history, None))


@pytest.fixture
def fast(study: Study) -> Strategy:
    return study.baseline.with_values(threads=2, learning_rate=2e-4)


def test_a_default_that_takes_more_than_the_budget_is_said_so(study: Study) -> None:
    turn = turn_with(study, [lasting(5, 0, study.baseline)], minutes=4)
    assert describe_end(turn, None) == (
        "the default alone took 5.0 of 4 minutes, so nothing else was tried; nothing was confirmed"
    )


def test_a_resumed_search_tries_something_instead_of_confirming_the_default(study: Study) -> None:
    turn = turn_with(study, [lasting(5, 0, study.baseline)], minutes=10)
    assert turn.search_end is None, "nothing is reserved to confirm the default alone"
    assert next_confirmation(turn.study, turn.history) is None


def test_nothing_to_confirm_is_said(study: Study) -> None:
    turn = turn_with(study, [lasting(5, 0, study.baseline)], minutes=10)
    assert describe_end(turn, "no gain") == (
        "no gain; there was nothing to confirm; left: 5.0 of 10 minutes"
    )


def test_confirmations_that_failed_are_said(study: Study, fast: Strategy) -> None:
    trials = [lasting(3, 0, study.baseline), lasting(2, 1, fast)]
    run = lasting(0.1, 2, fast, origin=TrialOrigin.CONFIRMATION, state=State.FAILED)
    end = describe_end(turn_with(study, [*trials, run], minutes=10), "no gain")
    assert end == "no gain; no confirmation run completed; left: 4.9 of 10 minutes"


def test_confirmations_and_the_rest_are_said(study: Study, fast: Strategy) -> None:
    trials = [lasting(3, 0, study.baseline), lasting(2, 1, fast)]
    run = lasting(2, 2, fast, origin=TrialOrigin.CONFIRMATION, seed=1)
    turn = turn_with(study, [*trials, run], minutes=10, trials=20)
    assert describe_end(turn, "searched 5.0 of 10 minutes, 3.3 kept to confirm") == (
        "searched 5.0 of 10 minutes, 3.3 kept to confirm; 1 confirmation run took 2.0 minutes; "
        "left: 17 of 20 trials, 3.0 of 10 minutes"
    )
