"""The trials of a study as a search reads them: only what changed, however many there are."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from autotune.domain import Trial
from autotune.ports import Store


class History:
    """All trials in order of number, as of the last :meth:`refresh`. Threads may share it.

    What a search asks before every trial is kept up with the changes, since a long search has tens
    of thousands: :attr:`counted`, :meth:`open` and :meth:`news`.
    """

    def __init__(self, store: Store, study: str) -> None:
        self._store, self._study = store, study
        self._trials: list[Trial] = []
        self._cursor = 0
        self._open: dict[int, Trial] = {}
        self._news: list[Trial] = []
        self.counted = 0
        """Trials that count against a budget of trials."""
        self._reading = threading.Lock()

    @property
    def revision(self) -> int:
        """A number that grows with every change of the study."""
        return self._cursor

    def refresh(self) -> Sequence[Trial]:
        """Read what this and other drivers have changed since; all trials then."""
        with self._reading:
            changed, self._cursor = self._store.trials_since(self._study, self._cursor)
            for trial in changed:
                self._take(trial)
            return tuple(self._trials)

    def unfinished(self) -> Sequence[Trial]:
        """Those of them that are queued or running."""
        with self._reading:
            return tuple(self._open.values())

    def drain_changes(self) -> Sequence[Trial]:
        """What :meth:`refresh` has read since this was last asked for, in the order of change."""
        with self._reading:
            news, self._news = self._news, []
            return news

    def _take(self, trial: Trial) -> None:
        for before in self._trials[trial.number : trial.number + 1]:
            self.counted -= before.counts_against_budget
        self._trials[trial.number : trial.number + 1] = [trial]  # numbers have no gaps
        self._news.append(trial)
        self.counted += trial.counts_against_budget
        self._open.pop(trial.number, None)
        if not trial.state.finished:
            self._open[trial.number] = trial
