"""The trials of a study as a search reads them: only what changed, however many there are."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from autotune.domain import Trial
from autotune.ports import Store


class History:
    """All trials in order of number, as of the last :meth:`refresh`. Threads may share it."""

    def __init__(self, store: Store, study: str) -> None:
        self._store, self._study = store, study
        self._trials: list[Trial] = []
        self._cursor = 0
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
                self._trials[trial.number : trial.number + 1] = [trial]  # numbers have no gaps
            return tuple(self._trials)
