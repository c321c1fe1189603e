"""Isolated re-runs: the reported trials again, with nothing else running on the host."""

from __future__ import annotations

from autotune.domain import TrialOrigin
from autotune.ports import Proposal
from autotune.tuner.remeasure import is_isolated_rerun_running
from autotune.tuner.sources.base import Wait
from autotune.tuner.turn import Turn


class IsolationGuard:
    """Keeps the host idle while an isolated re-run is running."""

    def next(self, turn: Turn) -> Wait | None:
        """Wait, or leave the choice to the sources that follow."""
        if is_isolated_rerun_running(turn.unfinished):
            return Wait("an isolated re-run is running")
        return None


class IsolatedReruns:
    """Re-runs the default and the Pareto-optimal trials that ran concurrently with others.

    It waits first for trials that can change the front, then for the host to be idle.
    """

    def next(self, turn: Turn) -> Proposal | Wait | None:
        """The next trial to re-run, while the budget for searching lasts."""
        if turn.can_front_change:
            return Wait("running trials can still change the front")
        if not turn.isolated_reruns:
            return None
        if turn.is_running:
            return Wait("an isolated re-run starts when the running trials have ended")
        trial = turn.isolated_reruns[0]
        return Proposal(trial.strategy, TrialOrigin.ISOLATED_RERUN, trial.seed)
