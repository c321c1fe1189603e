"""A search ends when trial after trial adds nothing to the hypervolume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.domain import Budget, FailureReason, State, Study, Trial, TrialOrigin, TrialResult
from autotune.search.no_improvement import on_plateau
from tests.search.small_study import finished_trial


def history(study: Study, *settings: dict[str, Any]) -> list[Trial]:
    base = study.baseline
    return [finished_trial(n, base.with_values(**s)) for n, s in enumerate(({}, *settings))]


BETTER: list[dict[str, Any]] = [
    {"learning_rate": 2e-4},
    {"learning_rate": 2e-4, "pruning_ratio": 0.25},
]
WORSE: list[dict[str, Any]] = [{"learning_rate": 6e-4 + n / 1e5} for n in range(4)]


def asking(study: Study, trials: int = 3) -> Study:
    return replace(study, budget=Budget(patience=trials))


def test_so_many_trials_without_gain_end_it(study: Study) -> None:
    study = asking(study)
    assert on_plateau(study, history(study, *BETTER, *WORSE[:2])) is None
    reason = on_plateau(study, history(study, *BETTER, *WORSE[:3]))
    assert reason == "no gain of hypervolume in the last 3 trials"


def test_a_gain_among_the_last_goes_on(study: Study) -> None:
    study = asking(study)
    assert on_plateau(study, history(study, BETTER[0], *WORSE[:2], BETTER[1])) is None


def test_the_order_is_that_of_ending(study: Study) -> None:
    """The good trial was started long ago, and ended last."""
    study = asking(study)
    trials = history(study, *BETTER, *WORSE)
    late = trials[-1].finished_at
    trials[2] = replace(trials[2], finished_at=late)
    assert on_plateau(study, trials) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.INTERRUPTED},
        {"state": State.INFEASIBLE, "failure": FailureReason.PREDICTED},
        {"origin": "confirm"},
        {"origin": TrialOrigin.IMPORTED},
    ],
)
def test_what_is_no_trial_of_the_search_does_not_count(
    study: Study, changes: dict[str, Any]
) -> None:
    study = asking(study)
    trials = history(study, *BETTER, *WORSE[:3])
    trials[-1] = replace(trials[-1], **changes)
    assert on_plateau(study, trials) is None


def test_failures_count(study: Study) -> None:
    study = asking(study)
    trials = history(study, *BETTER, *WORSE[:3])
    trials[-1] = replace(trials[-1], state=State.FAILED, failure=FailureReason.ERROR)
    assert on_plateau(study, trials) is not None


def test_without_the_default_nothing_is_a_gain(study: Study) -> None:
    study = asking(study)
    trials = history(study, *BETTER)
    trials[0] = replace(
        trials[0], state=State.FAILED, failure=FailureReason.ERROR, result=TrialResult()
    )
    assert on_plateau(study, trials) is not None


def test_a_study_that_does_not_ask_goes_on(study: Study) -> None:
    assert on_plateau(study, history(study, *BETTER, *WORSE)) is None
