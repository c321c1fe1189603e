"""The trials of a study as a search reads them: incrementally, since a study can have many."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.domain import Trial, Value
from autotune.ports import Store


@dataclass(frozen=True)
class HistorySnapshot:
    """All trials in order of number, and what follows from them.

    ``unfinished`` are those that are queued or running. ``counted_trials`` is how many count
    against a budget of trials. ``revision`` grows with every change of the study.
    """

    trials: Sequence[Trial]
    unfinished: Sequence[Trial]
    counted_trials: int
    revision: int


class History:
    """All trials of one study, updated with what has changed. Thread-safe.

    Trials from before a lever was added, for example by a plug-in, ran without it: their strategies
    are completed with the setting in ``defaults``.
    """

    def __init__(
        self, store: Store, study: str, defaults: Mapping[str, Value] | None = None
    ) -> None:
        self._store, self._study = store, study
        self._defaults = defaults or {}
        self._trials: list[Trial] = []
        self._cursor = 0
        self._unfinished: dict[int, Trial] = {}
        self._changes: list[Trial] = []
        self._counted_trials = 0
        self._lock = threading.Lock()

    def refresh(self) -> Sequence[Trial]:
        """Read the changes of this and of other drivers; return all trials in order of number."""
        return self.snapshot().trials

    def snapshot(self) -> HistorySnapshot:
        """Read the changes, as :meth:`refresh`; return the trials with their totals."""
        with self._lock:
            changes, self._cursor = self._store.trials_since(self._study, self._cursor)
            for trial in changes:
                self._apply(self._complete(trial))
            return HistorySnapshot(
                tuple(self._trials),
                tuple(self._unfinished.values()),
                self._counted_trials,
                self._cursor,
            )

    def drain_changes(self) -> Sequence[Trial]:
        """The trials that were read since the previous call, in the order of their changes."""
        with self._lock:
            changes, self._changes = self._changes, []
            return changes

    def _complete(self, trial: Trial) -> Trial:
        missing = {n: v for n, v in self._defaults.items() if n not in trial.strategy.values}
        if not missing:
            return trial
        return replace(trial, strategy=trial.strategy.with_values(**missing))

    def _apply(self, trial: Trial) -> None:
        for before in self._trials[trial.number : trial.number + 1]:
            self._counted_trials -= before.counts_against_budget
        self._trials[trial.number : trial.number + 1] = [trial]  # numbers have no gaps
        self._changes.append(trial)
        self._counted_trials += trial.counts_against_budget
        self._unfinished.pop(trial.number, None)
        if not trial.state.is_finished:
            self._unfinished[trial.number] = trial
