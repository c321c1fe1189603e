"""A search ends when its last trials add nothing to the hypervolume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.domain import Budget, FailureReason, State, Study, Trial, TrialOrigin, TrialResult
from autotune.tuner.patience import should_end_search
from tests.tuner.small_study import finished_trial


def history(study: Study, *settings: dict[str, Any]) -> list[Trial]:
    base = study.baseline
    return [finished_trial(n, base.with_values(**s)) for n, s in enumerate(({}, *settings))]


BETTER: list[dict[str, Any]] = [
    {"learning_rate": 2e-4},
    {"learning_rate": 2e-4, "pruning_ratio": 0.25},
]
WORSE: list[dict[str, Any]] = [{"learning_rate": 6e-4 + n / 1e5} for n in range(4)]


def with_patience(study: Study, trials: int = 3) -> Study:
    return replace(study, budget=Budget(patience=trials))


def test_trials_without_gain_end_the_search(study: Study) -> None:
    study = with_patience(study)
    assert should_end_search(study, history(study, *BETTER, *WORSE[:2])) is None
    reason = should_end_search(study, history(study, *BETTER, *WORSE[:3]))
    assert reason == "no gain of hypervolume in the last 3 trials"


def test_a_gain_among_the_last_trials_continues_the_search(study: Study) -> None:
    study = with_patience(study)
    assert should_end_search(study, history(study, BETTER[0], *WORSE[:2], BETTER[1])) is None


def test_trials_are_ordered_by_their_end(study: Study) -> None:
    """The best trial started early and ended last."""
    study = with_patience(study)
    trials = history(study, *BETTER, *WORSE)
    end = trials[-1].finished_at
    trials[2] = replace(trials[2], finished_at=end)
    assert should_end_search(study, trials) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.INTERRUPTED},
        {"state": State.INFEASIBLE, "failure": FailureReason.PREDICTED},
        {"origin": TrialOrigin.CONFIRMATION},
        {"origin": TrialOrigin.IMPORTED},
    ],
)
def test_trials_outside_of_the_search_do_not_count(study: Study, changes: dict[str, Any]) -> None:
    study = with_patience(study)
    trials = history(study, *BETTER, *WORSE[:3])
    trials[-1] = replace(trials[-1], **changes)
    assert should_end_search(study, trials) is None


def test_failures_count(study: Study) -> None:
    study = with_patience(study)
    trials = history(study, *BETTER, *WORSE[:3])
    trials[-1] = replace(trials[-1], state=State.FAILED, failure=FailureReason.ERROR)
    assert should_end_search(study, trials) is not None


def test_there_is_no_gain_without_the_default(study: Study) -> None:
    study = with_patience(study)
    trials = history(study, *BETTER)
    trials[0] = replace(
        trials[0], state=State.FAILED, failure=FailureReason.ERROR, result=TrialResult()
    )
    assert should_end_search(study, trials) is not None


def test_a_study_without_patience_continues(study: Study) -> None:
    assert should_end_search(study, history(study, *BETTER, *WORSE)) is None
