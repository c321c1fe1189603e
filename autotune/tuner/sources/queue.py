"""Queued trials: the default, the strategies of ``start_with``, and trials to run again."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.domain import State, Strategy, Study, Trial, TrialOrigin
from autotune.ports import Proposal, Store
from autotune.tuner.history import History
from autotune.tuner.sources.base import StartQueued
from autotune.tuner.turn import Turn


class TrialQueue:
    """The queue of a study. It is in the store, where all drivers see it. Thread-safe."""

    def __init__(self, study: Study, store: Store, history: History) -> None:
        self._study, self._store, self._history = study, store, history

    def next(self, turn: Turn) -> StartQueued | None:
        """Start a queued trial while the budget for searching lasts."""
        is_queued = any(trial.state is State.QUEUED for trial in turn.unfinished)
        return StartQueued() if is_queued and turn.search_end is None else None

    def add(self, strategy: Strategy, origin: TrialOrigin, seed: int | None = None) -> None:
        """Queue a strategy, unless it is queued, running or has a result.

        ``seed`` is the study's by default.
        """
        if strategy == self._study.baseline:
            origin = TrialOrigin.DEFAULT
        proposal = Proposal(strategy, origin, self._study.task.seed if seed is None else seed)
        while True:
            history = self._history.refresh()
            tried = {(t.strategy.key, t.seed) for t in history if _is_tried(t)}
            if (strategy.key, proposal.seed) in tried:
                return
            number = len(history)
            if self._store.claim(self._study.name, proposal, number=number, queue=True) is not None:
                return

    def retry(self, trials: Sequence[Trial]) -> None:
        """Queue trials again. Repetitions with another seed and imports have sources of their
        own."""
        for trial in trials:
            if not trial.has_another_seed and not trial.is_imported:
                self.add(trial.strategy, TrialOrigin.RETRY, trial.seed)


def _is_tried(trial: Trial) -> bool:
    """Whether the strategy of ``trial`` has a result or will get one from this trial. A default
    that failed is tried again: its error is one of model, data or machine."""
    is_failed_default = trial.origin is TrialOrigin.DEFAULT and trial.state is State.FAILED
    return trial.is_informative and trial.is_result and not is_failed_default
