"""Living with other drivers of one study, and with a database that goes away for a while."""

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
BEATS_BEFORE_TAKEOVER = 3
"""After an outage nobody has been heard of; every driver gets the time to be heard again."""

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0


class Heartbeat:
    """A thread beside the search: says that the driver is alive, and notices others that are not.

    ``running`` names the trials that run now. ``rerun`` is called with the trials of a driver that
    fell silent, which are interrupted by then; only one driver gets each.
    """

    def __init__(
        self,
        store: Store,
        study: Study,
        running: Callable[[], Collection[int]],
        rerun: Callable[[Sequence[Trial]], None],
    ) -> None:
        self._store, self._study = store, study.name
        self._running, self._rerun = running, rerun
        self._takeover_seconds = study.executor.takeover_seconds
        self._beats = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._takeover_seconds / BEATS_PER_TAKEOVER):
            try:
                self._beat()
            except StoreUnavailableError as error:
                self._beats = 0
                log.info("no heartbeat: %s", error)

    def _beat(self) -> None:
        self._store.heartbeat(self._study, self._running())
        self._beats += 1
        if self._beats >= BEATS_BEFORE_TAKEOVER:
            left = self._store.interrupt_running(self._study, stale_seconds=self._takeover_seconds)
            if left:
                self._rerun(left)


class OutageBackoff:
    """Waits for a database that is away, a little longer each time, ``seconds`` in all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waited = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._ended = threading.Event()

    def wait(self, error: StoreUnavailableError) -> None:
        """Wait a moment after ``error``, or raise it where patience is at its end."""
        if self._waited >= self._seconds:
            raise error
        log.warning("waiting for the database: %s", error)
        self.pause(self._pause)
        self._waited += self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def pause(self, seconds: float) -> None:
        """Sleep, unless the search is stopped meanwhile."""
        self._ended.wait(seconds)

    def reset(self) -> None:
        """The database answered."""
        self._waited, self._pause = 0.0, FIRST_PAUSE_SECONDS

    def cancel(self) -> None:
        """Nothing is worth waiting for any more; safe from a signal handler or thread."""
        self._ended.set()
