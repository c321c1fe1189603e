"""A thread that does one thing again and again until the service ends."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from autotune.errors import AutotuneError

log = logging.getLogger(__name__)


class WorkerThread(ABC):
    """Calls :meth:`step` every ``seconds``. An error is logged, and the next step comes all the
    same: databases and processes return."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def step(self) -> object:
        """What is done each time; its value is not used."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait for the step that is being done, and do no more."""
        self._is_stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_stopped.wait(self._seconds):
            try:
                self.step()
            except (AutotuneError, OSError) as error:
                log.warning("%s: %s", self._name, error)
            except Exception:  # a defect: without the thread, studies would wait forever
                log.exception("%s: unexpected error", self._name)
