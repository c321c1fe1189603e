"""Heartbeats of a driver, takeover of the trials of dead drivers, and waiting for the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Self

from autotune.domain import Study, Trial
from autotune.errors import StoreUnavailableError
from autotune.ports import Store

log = logging.getLogger(__name__)

BEATS_PER_TAKEOVER = 12
"""Heartbeats in the time without one after which a driver counts as dead."""

BEATS_BEFORE_TAKEOVER = 3
"""After a database outage all heartbeats look stale, so wait this many beats before taking over
trials."""

FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 5.0


class Heartbeat:
    """A thread that records heartbeats of this driver, and takes over the trials of dead drivers.

    ``running`` returns the numbers of the trials that this driver runs. ``retry`` is called with
    the trials of a dead driver after they were marked as interrupted. Only one driver gets each.
    """

    def __init__(
        self,
        store: Store,
        study: Study,
        running: Callable[[], Collection[int]],
        retry: Callable[[Sequence[Trial]], None],
    ) -> None:
        self._store, self._study = store, study.name
        self._running, self._retry = running, retry
        self._takeover_seconds = study.executor.takeover_seconds
        self._beats = 0
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._is_stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopped.wait(self._takeover_seconds / BEATS_PER_TAKEOVER):
            try:
                self._beat()
            except StoreUnavailableError as error:
                self._beats = 0
                log.info("no heartbeat: %s", error)

    def _beat(self) -> None:
        self._store.heartbeat(self._study, self._running())
        self._beats += 1
        if self._beats >= BEATS_BEFORE_TAKEOVER:
            trials = self._store.interrupt_running(
                self._study, stale_seconds=self._takeover_seconds
            )
            if trials:
                self._retry(trials)


class OutageBackoff:
    """Exponential backoff during a database outage, up to ``seconds`` in total."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waited = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._is_cancelled = threading.Event()

    def wait(self, error: StoreUnavailableError) -> None:
        """Pause after ``error``, or raise it if the total time is used."""
        if self._waited >= self._seconds:
            raise error
        log.warning("waiting for the database: %s", error)
        self.pause(self._pause)
        self._waited += self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)

    def pause(self, seconds: float) -> None:
        """Sleep until the time is over or :meth:`cancel` is called."""
        self._is_cancelled.wait(seconds)

    def reset(self) -> None:
        """Reset the backoff after a successful query."""
        self._waited, self._pause = 0.0, FIRST_PAUSE_SECONDS

    def cancel(self) -> None:
        """End all pauses, now and later. Safe from a signal handler or thread."""
        self._is_cancelled.set()
