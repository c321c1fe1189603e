"""Notices what webhooks are told: a study is done, failed, stalled, short of budget, has another
front, or its machine drifts."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from autotune.analysis.drift import log_drift
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import budget_use
from autotune.domain import State, digest
from autotune.domain.clock import utc_now
from autotune.errors import DamagedStudyError, NotFoundError
from autotune.service.config import ServiceConfig
from autotune.service.studies import Studies
from autotune.service.worker_thread import WorkerThread
from autotune.store.codec import to_json
from autotune.store.outbox import Outbox
from autotune.store.submissions import Submission, SubmissionState

log = logging.getLogger(__name__)

BUDGET_SHARE = 0.9
"""The used share of a budget from which it is nearly spent."""

DRIFT_SHARE = 0.1
"""The relative change of the reference workload from which the machine is drifting."""

INTERVAL_POLLS = 4
"""The queue is polled this many times between two looks at the studies."""


class EventName(StrEnum):
    """What a webhook can be told."""

    DONE = "study.done"
    FAILED = "study.failed"
    STALLED = "study.stalled"
    BUDGET = "budget.nearly_spent"
    FRONT = "front.changed"
    DRIFT = "machine.drifting"


ENDS: Mapping[SubmissionState, EventName] = {
    SubmissionState.DONE: EventName.DONE,
    SubmissionState.FAILED: EventName.FAILED,
}


@dataclass(frozen=True)
class Event:
    """Something that happened to a study. ``key`` names it, so that it is reported once."""

    name: EventName
    key: str
    details: Mapping[str, Any]


def _prefix(submission: Submission) -> str:
    """The start of the keys of a study. SQLite gives the id of a deleted study to the next one."""
    return f"{submission.id}:{submission.submitted_at.isoformat()}:"


def end_events(submission: Submission) -> Iterator[Event]:
    """That a study is done or has failed."""
    name = ENDS.get(submission.state)
    if name is not None:
        key = f"{_prefix(submission)}{name}:{submission.revision}"
        yield Event(name, key, {"reason": submission.reason})


def search_events(
    submission: Submission, snapshot: Snapshot, now: datetime, stall_seconds: float
) -> Iterator[Event]:
    """What the trials of a study say."""
    prefix = _prefix(submission)
    front = [trial.number for trial in snapshot.front]
    if front:
        numbers = ",".join(map(str, sorted(front)))
        yield Event(EventName.FRONT, f"{prefix}front:{digest(numbers)}", {"front": front})
    for use in budget_use(snapshot.study, snapshot.trials):
        if use.share is not None and use.share >= BUDGET_SHARE:
            details = {"budget": use.name, "used": use.used, "limit": use.limit}
            yield Event(EventName.BUDGET, f"{prefix}budget:{use.name}:{use.limit}", details)
    for trial in snapshot.trials:
        drift = log_drift(trial, snapshot.baseline)
        if drift is not None and abs(drift) >= math.log1p(DRIFT_SHARE):
            details = {"trial": trial.number, "slowdown": math.exp(drift)}
            yield Event(EventName.DRIFT, f"{prefix}drift", details)
            break
    if submission.state is SubmissionState.RUNNING:
        yield from _stall_events(submission, snapshot, now, stall_seconds)


def _stall_events(
    submission: Submission, snapshot: Snapshot, now: datetime, stall_seconds: float
) -> Iterator[Event]:
    """That no trial has started or finished for long."""
    times = [t for trial in snapshot.trials for t in (trial.started_at, trial.finished_at) if t]
    last = max([*times, submission.started_at or submission.submitted_at])
    idle = (now - last).total_seconds()
    if idle > stall_seconds:
        running = [trial.number for trial in snapshot.by_state[State.RUNNING]]
        details = {"idle_minutes": idle / 60, "running": running}
        key = f"{_prefix(submission)}stalled:{last.isoformat()}"
        yield Event(EventName.STALLED, key, details)


class Monitor(WorkerThread):
    """A thread that looks at running studies, and at those that have ended, and posts events to the
    outbox. An event of the store is posted once, whichever instance sees it first."""

    def __init__(self, config: ServiceConfig, studies: Studies, outbox: Outbox) -> None:
        super().__init__("monitor", config.poll_seconds * INTERVAL_POLLS)
        self._config, self._studies, self._outbox = config, studies, outbox
        self._looks: dict[str, tuple[int, int]] = {}

    def step(self) -> int:
        """Look once; returns the number of messages that are new."""
        if not self._outbox.webhooks():
            return 0
        revisions = self._studies.queue.revisions()
        count = 0
        for submission in self._studies.queue.submissions():
            if submission.state is SubmissionState.QUEUED:
                continue
            revision, key = revisions.get(submission.study, (0, 0)), _prefix(submission)
            is_running = submission.state is SubmissionState.RUNNING
            if not is_running and self._looks.get(key) == revision:
                continue
            try:
                count += sum(self._post(submission, event) for event in self._events(submission))
            except DamagedStudyError as error:  # the others can be read
                log.warning("%s", error)
            self._looks[key] = revision
        return count

    def _events(self, submission: Submission) -> Iterator[Event]:
        yield from end_events(submission)
        try:
            snapshot = self._studies.snapshot(submission.study)
        except NotFoundError:  # not stored yet, or deleted meanwhile
            return
        yield from search_events(submission, snapshot, utc_now(), self._config.stall_seconds)

    def _post(self, submission: Submission, event: Event) -> int:
        payload = {
            "event": event.name.value,
            "study": submission.study,
            "owner": submission.owner,
            "state": submission.state.value,
            "at": utc_now().isoformat(),
            "details": to_json(event.details),
        }
        return self._outbox.post(event.name, event.key, payload)
