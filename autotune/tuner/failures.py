"""Failures that are no verdict on a strategy: killed workers, and errors of every trial."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from autotune.domain import (
    KILLED_BY,
    PAUSED_AT_STEP,
    Failed,
    FailureReason,
    Outcome,
    State,
    Trial,
    TrialOrigin,
)
from autotune.domain.trial import LOG_NOTE

MAX_EQUAL_FAILURES = 5
"""This many equal failures in a row end a search: the next strategy would fail alike."""


def has_failed_before(trial: Trial, history: Sequence[Trial]) -> bool:
    """Whether an earlier run of the strategy and seed of ``trial`` was lost with its machine."""
    return any(
        earlier.failure == FailureReason.INFRASTRUCTURE
        and earlier.strategy.key == trial.strategy.key
        and earlier.seed == trial.seed
        for earlier in history
        if earlier.number != trial.number
    )


def is_resumable(trial: Trial) -> bool:
    """Whether the training run of a finished trial can continue at its last checkpoint: it was
    paused, or its strategy is run again because nothing is known of it."""
    is_paused = PAUSED_AT_STEP in trial.result.environment
    return is_paused or (not trial.is_informative and not trial.is_imported)


def earlier_runs(trial: Trial, history: Sequence[Trial]) -> list[Trial]:
    """The trials whose training run ``trial`` continues if they left a checkpoint, the latest
    first."""
    if trial.origin is TrialOrigin.ISOLATED_RERUN:
        return []  # it is run for its speed, with nothing else on the host
    return [
        earlier
        for earlier in reversed(history[: trial.number])
        # Pruned: the listed trials have no environment that would tell which of them were paused.
        if (is_resumable(earlier) or earlier.state is State.PRUNED)
        and earlier.is_confirmation == trial.is_confirmation
        and earlier.strategy.key == trial.strategy.key
        and earlier.seed == trial.seed
    ]


def without_early_verdict(outcome: Outcome, *, is_second_run: bool) -> Outcome:
    """``outcome``, but a worker that was killed from outside is a fault of the machine the first
    time. The second time it is a crash of the strategy: the kernel kills what exceeds memory."""
    is_killed = KILLED_BY in outcome.result.environment
    if is_second_run or not is_killed or not isinstance(outcome, Failed):
        return outcome
    return replace(outcome, failure=FailureReason.INFRASTRUCTURE)


class RepeatedFailures:
    """The failures of one session, in the order in which the trials ended."""

    def __init__(self) -> None:
        self._signature = ""
        self._count = 0

    def add(self, trial: Trial, *, is_retried: bool) -> str | None:
        """Note a finished trial; return the reason to stop the search, or ``None``.

        ``is_retried``: the trial runs again, so that its failure says nothing yet.
        """
        if is_retried or trial.state is State.INTERRUPTED:
            return None
        if trial.failure == FailureReason.PREDICTED:
            return None  # it did not run
        if trial.state is not State.FAILED:
            self._count = 0
            return None
        signature = failure_signature(trial)
        self._count = self._count + 1 if signature == self._signature else 1
        self._signature = signature
        if trial.origin is TrialOrigin.DEFAULT:
            return f"trial {trial.number}, the default, failed: {trial.reason}"
        if self._count >= MAX_EQUAL_FAILURES:
            return f"the last {self._count} trials failed alike: {trial.reason}"
        return None


def failure_signature(trial: Trial) -> str:
    """What equal failures have in common: the reason without log and numbers."""
    reason = (trial.reason or "").partition(LOG_NOTE)[0]
    return f"{trial.failure}: {re.sub(r'[0-9]+', '#', reason)}"
