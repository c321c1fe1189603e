"""A store on a server that may be away for a while: finished results never are lost over that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from autotune.domain import CurvePoint, Outcome, State, Strategy, Trial
from autotune.errors import StoreUnavailableError, UsageError
from autotune.store.journal import Journal, Result
from autotune.store.repository import SqlStore, open_store

log = logging.getLogger(__name__)


def open_for_driving(
    url: str, directory: Path, *, clock: Callable[[], datetime] | None = None
) -> SqlStore:
    """The store at ``url`` as :func:`open_store` opens it, for one who runs trials.

    A server may come back, so its results wait in a journal in ``directory``; what a driver left
    there that was killed is handed in now. A file of SQLite is here or it is broken.
    """
    store = open_store(url, clock=clock)
    if store.exclusive:
        return store
    store.close()
    journaled = JournaledStore(url, directory, clock=clock)
    adopted = journaled.adopt()
    if adopted:
        log.warning("%d results that waited in %s are stored now", adopted, directory)
    return journaled


class JournaledStore(SqlStore):
    """A :class:`~autotune.store.repository.SqlStore` for a driver: while the database is away,
    :meth:`finish` keeps results in a journal on local disk. They are written before anything is
    read again, so that a search sees its own results. All other calls fail as they do there.
    """

    def __init__(
        self, url: str, directory: Path, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(url, clock=clock)
        self._journal = Journal(directory, str(self), self.driver)
        self._replaying = threading.RLock()
        self._running: dict[tuple[str, int], Trial] = {}

    def adopt(self) -> int:
        """Hand in what drivers left in the journal that are gone, and return how many results."""
        return sum(sum(map(self._hand_in, results)) for results in self._journal.orphans())

    def claim(
        self,
        study: str,
        strategy: Strategy,
        *,
        origin: str,
        seed: int,
        number: int,
        queue: bool = False,
    ) -> Trial | None:
        trial = super().claim(study, strategy, origin=origin, seed=seed, number=number, queue=queue)
        return self._remembered(study, trial)

    def claim_next_queued(self, study: str) -> Trial | None:
        return self._remembered(study, super().claim_next_queued(study))

    def trials_since(self, study: str, cursor: int = 0) -> tuple[Sequence[Trial], int]:
        self.replay()
        return super().trials_since(study, cursor)

    def report(self, study: str, number: int, point: CurvePoint) -> None:
        """Add a point, or let it go: the outcome brings the whole curve."""
        try:
            super().report(study, number, point)
        except StoreUnavailableError as error:
            log.info("a point of trial %d is not stored now: %s", number, error)

    def finish(self, study: str, number: int, outcome: Outcome) -> Trial:
        try:
            self.replay()
            trial = super().finish(study, number, outcome)
            self._running.pop((study, number), None)
        except StoreUnavailableError as error:
            running = self._running.get((study, number))
            if running is None:
                raise
            log.warning("trial %d is kept in the journal: %s", number, error)
            self._keep(study, number, outcome)
            trial = running.finished(outcome, datetime.now(UTC))
        return trial

    def replay(self) -> None:
        """Write what waits in this driver's journal.

        :raises StoreUnavailableError: the database is still away; nothing is lost.
        """
        with self._replaying:
            waiting = self._journal.waiting()
            for result in waiting:
                self._hand_in(result)
            self._journal.clear()

    def close(self) -> None:
        """Release connections; what still waits stays in the journal. Idempotent."""
        self._journal.abandon()
        super().close()

    def _keep(self, study: str, number: int, outcome: Outcome) -> None:
        with self._replaying:
            self._journal.keep(study, number, outcome)

    def _hand_in(self, result: Result) -> bool:
        study, number, outcome = result
        try:
            super().finish(study, number, outcome)
        except UsageError as error:  # the study was deleted, or the trial has ended otherwise
            log.warning("a result of study %s is not taken: %s", study, error)
            return False
        self._running.pop((study, number), None)
        return True

    def _remembered(self, study: str, trial: Trial | None) -> Trial | None:
        if trial is not None and trial.state is State.RUNNING:
            self._running[study, trial.number] = trial
        return trial
