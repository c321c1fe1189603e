"""The process that searches one study of the queue: ``python -m autotune.service.driver STUDY``.

It ends when its standard input closes, because the instance that started it has ended. The study
then waits for another driver.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field

from autotune import spec
from autotune.domain import CurvePoint, Trial
from autotune.errors import AutotuneError, StoreError, StoreUnavailableError, UsageError
from autotune.service.logs import write_json_logs
from autotune.store import open_driver_store
from autotune.store.queue import SubmissionQueue
from autotune.store.submissions import Submission, SubmissionState
from autotune.tuner.session import SearchResult, SearchSession

log = logging.getLogger(__name__)

ENV_STORAGE = "AUTOTUNE_STORAGE"
ENV_DRIVER = "AUTOTUNE_SERVICE_DRIVER"
ENV_LEASE = "AUTOTUNE_SERVICE_LEASE_SECONDS"
ENV_OVERRIDES = "AUTOTUNE_SERVICE_OVERRIDES"
"""Settings of the instance in the environment, because arguments are visible to all users."""

RENEWALS_PER_LEASE = 6
CHECKS_PER_RENEWAL = 5
ABORT_SECONDS = 15.0
"""How long a search may take to end after its driver has lost the study."""

ACQUIRE_SECONDS = 60.0

OUTAGE_SECONDS = 600.0
"""How long the end of a search waits for a database that is away."""


@dataclass
class Lease:
    """Keeps the lease of this driver, and ends its search when it is lost, when the owner asks to
    stop, or when the instance ends. An observer of the search."""

    queue: SubmissionQueue
    study: str
    driver: str
    seconds: float
    session: SearchSession | None = None
    stop_requested: bool = False
    is_orphan: bool = False
    _progressed: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the threads that keep the lease."""
        threading.Thread(target=self._keep, name="lease", daemon=True).start()
        threading.Thread(target=self._watch_input, name="input", daemon=True).start()

    def attach(self, session: SearchSession) -> None:
        """The search to end. It ends at once if that was asked for before."""
        self.session = session
        if self.stop_requested:
            session.stop("stopped by its owner")

    def close(self) -> None:
        """Renew the lease no more."""
        self._ended.set()

    def started(self, trial: Trial) -> None:
        pass

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        pass

    def finished(self, trial: Trial) -> None:
        self._progressed = True

    def _keep(self) -> None:
        interval = self.seconds / RENEWALS_PER_LEASE / CHECKS_PER_RENEWAL
        checks = 0
        while not self._ended.wait(interval) and not self.is_orphan:
            checks += 1
            try:
                self._check(renew=checks % CHECKS_PER_RENEWAL == 0)
            except StoreError as error:
                log.warning("the lease cannot be renewed: %s", error)

    def _check(self, *, renew: bool) -> None:
        if renew:
            progressed, self._progressed = self._progressed, False
            if not self.queue.renew(self.study, self.driver, progressed=progressed):
                log.warning("the lease of %s is lost", self.study)
                self._orphan()
                return
        if not self.stop_requested and self.queue.is_stop_requested(self.study, self.driver):
            log.info("stop of %s requested", self.study)
            self.stop_requested = True
            if self.session is not None:
                self.session.stop("stopped by its owner")

    def _watch_input(self) -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        log.info("the service has ended")
        self._orphan()

    def _orphan(self) -> None:
        """End the search now; the process, too, if that takes long, because another driver may
        have taken over."""
        self.is_orphan = True
        if self.session is not None:
            self.session.stop("the service has ended")
            self.session.abort()
            self._ended.wait(ABORT_SECONDS)
        if not self._ended.is_set():
            with suppress(StoreError):
                self.queue.release(self.study, self.driver)
            os._exit(1)


def main() -> None:
    """Search the study of the first argument; its end is recorded in the queue."""
    write_json_logs(sys.stderr)
    study, url, driver = sys.argv[1], os.environ[ENV_STORAGE], os.environ[ENV_DRIVER]
    seconds = float(os.environ[ENV_LEASE])
    with closing(SubmissionQueue(url, lease_seconds=seconds)) as queue:
        lease = Lease(queue, study, driver, seconds)
        lease.start()
        state, reason = _search(queue, url, lease)
        log.info("search of %s ended: %s: %s", study, state, reason)
        _record_end(queue, lease, state, reason)
        lease.close()


def _search(queue: SubmissionQueue, url: str, lease: Lease) -> tuple[SubmissionState, str | None]:
    """Search the study of the lease, and return how that ended. It waits again if the database was
    away, because that says nothing about the study."""
    try:
        return _run(queue.find(lease.study), url, lease)
    except StoreUnavailableError as error:
        log.warning("the search of %s cannot go on: %s", lease.study, error)
        return SubmissionState.QUEUED, None
    except AutotuneError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return SubmissionState.FAILED, f"{error.message}{hint}"


def _run(submission: Submission, url: str, lease: Lease) -> tuple[SubmissionState, str | None]:
    """Search a study like ``autotune search`` and return how that ended."""
    from autotune.cli.executors import open_executor
    from autotune.cli.options import runs_directory

    text = submission.text + "\n"
    overrides = [*submission.settings, *json.loads(os.environ[ENV_OVERRIDES])]
    config, directory = spec.executor(text, overrides=overrides), runs_directory()
    with open_executor(config) as (executor, host):
        study = spec.load(text, host=host, overrides=overrides).study
        store = open_driver_store(url, directory / ".journal", clock=executor.clock)
        with closing(store), ExitStack() as stack:
            session = SearchSession(study, store, executor, host, directory=directory)
            session.prepare()
            session.create_or_continue()
            _acquire_when_free(stack, session)
            lease.attach(session)
            return _outcome(session.run(lease), lease)


def _acquire_when_free(stack: ExitStack, session: SearchSession) -> None:
    """Be the driver of the study, after the driver before has ended, which can take seconds."""
    deadline = time.monotonic() + ACQUIRE_SECONDS
    while True:
        try:
            stack.enter_context(session.acquire())
            return
        except UsageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def _outcome(result: SearchResult, lease: Lease) -> tuple[SubmissionState, str | None]:
    if lease.stop_requested:
        return SubmissionState.STOPPED, result.reason
    if lease.is_orphan:
        return SubmissionState.QUEUED, None
    if result.failure is not None:
        return SubmissionState.FAILED, result.failure
    if not result.has_completed_trial:
        return SubmissionState.FAILED, f"no trial completed: {_last_reason(result.trials)}"
    return SubmissionState.DONE, result.reason


def _last_reason(trials: Sequence[Trial]) -> str:
    reasons = [trial.reason for trial in trials if trial.reason]
    return reasons[-1] if reasons else "there was no trial"


def _record_end(
    queue: SubmissionQueue, lease: Lease, state: SubmissionState, reason: str | None
) -> None:
    """Record the end of the search, when the database is there again."""
    deadline = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            if state is SubmissionState.QUEUED or (lease.is_orphan and not lease.stop_requested):
                queue.release(lease.study, lease.driver)
            else:
                queue.end(lease.study, lease.driver, state, reason)
            return
        except StoreError:
            if time.monotonic() > deadline or lease.is_orphan:
                raise
            time.sleep(1.0)


if __name__ == "__main__":
    main()
