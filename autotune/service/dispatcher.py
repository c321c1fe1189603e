"""Starts a driver process for each study whose turn it is, and notices drivers that have died."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import StoreError
from autotune.service import driver
from autotune.service.config import ServiceConfig
from autotune.service.driver import RENEWALS_PER_LEASE
from autotune.service.files import UserFolder
from autotune.service.worker_thread import WorkerThread
from autotune.store.queue import SubmissionQueue
from autotune.store.submissions import Submission

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
"""How long drivers have to store what they know when the service ends."""

PACKAGE_FOLDER = Path(__file__).parents[2]


@dataclass(frozen=True)
class DriverProcess:
    """A driver of this instance. Closing its standard input ends it."""

    study: str
    name: str
    process: subprocess.Popen[bytes]


class Dispatcher(WorkerThread):
    """Runs up to ``config.workers`` studies at once, each in a process of its own."""

    def __init__(self, config: ServiceConfig, queue: SubmissionQueue) -> None:
        super().__init__("dispatcher", config.poll_seconds)
        self._config, self._queue = config, queue
        self._drivers: list[DriverProcess] = []
        self._renewal = 0.0

    @property
    def running(self) -> int:
        """The number of drivers of this instance."""
        return len(self._drivers)

    def stop(self) -> None:
        """Start no more drivers, and end those that run: their studies wait again."""
        super().stop()
        for child in self._drivers:
            if child.process.stdin is not None:
                child.process.stdin.close()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._drivers:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        with suppress(StoreError):  # leases of studies that cannot be released end by themselves
            self._reap()

    def step(self) -> None:
        if time.monotonic() >= self._renewal:
            # Until that works, no lease ends here: after an outage of the database, the leases of
            # drivers that live are over, too.
            self._renew_leases()
            self._renewal = time.monotonic() + self._config.lease_seconds / RENEWALS_PER_LEASE
        self._queue.expire_leases()
        self._reap()
        self._start_drivers()

    def _renew_leases(self) -> None:
        """Renew the leases of drivers that live, because a driver needs seconds to start, and more
        on a busy machine."""
        for child in self._drivers:
            if child.process.poll() is None:
                self._queue.renew(child.study, child.name)

    def _reap(self) -> None:
        """Let the studies of drivers that have died wait again. A driver that ended by itself has
        recorded that."""
        for child in [c for c in self._drivers if c.process.poll() is not None]:
            if self._queue.release(child.study, child.name, died=True):
                log.warning(
                    "the driver of %s died with status %s", child.study, child.process.returncode
                )
            self._drivers.remove(child)

    def _start_drivers(self) -> None:
        while len(self._drivers) < self._config.workers and not self._is_stopped.is_set():
            name = f"{self._config.instance}:{secrets.token_hex(4)}"
            submission = self._queue.claim(name)
            if submission is None:
                return
            try:
                self._drivers.append(self._start(submission, name))
            except OSError:
                self._queue.release(submission.study, name, died=True)
                raise

    def _start(self, submission: Submission, name: str) -> DriverProcess:
        config = self._config
        config.logs.mkdir(parents=True, exist_ok=True)
        folder = UserFolder.of_user(config.folder, submission.owner).path
        command = [sys.executable, "-m", driver.__name__, submission.study]
        with (config.logs / f"{submission.study}.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=driver_environment(config, name),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        log.info("driver %s of %s started", process.pid, submission.study)
        return DriverProcess(submission.study, name, process)


def driver_environment(config: ServiceConfig, name: str) -> Mapping[str, str]:
    """The environment of a driver."""
    return {
        **safe_environment(config),
        driver.ENV_DRIVER: name,
        driver.ENV_LEASE: str(config.lease_seconds),
        driver.ENV_OVERRIDES: json.dumps(config.overrides),
    }


def safe_environment(config: ServiceConfig) -> dict[str, str]:
    """The environment of processes whose working directory has files of a user: Python imports
    nothing from there."""
    environment = {name: value for name, value in os.environ.items() if name != "AUTOTUNE_REMOTE"}
    return {
        **environment,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(PACKAGE_FOLDER),
        driver.ENV_STORAGE: config.storage,
        "AUTOTUNE_RUNS": str(config.runs),
    }
