"""Connects Ray Tune to the search: Tune asks the searcher for jobs and gives it their outcomes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from autotune.domain import Failed, FailureReason, Interrupted, Job
from autotune.execution.local import ASK_AGAIN_SECONDS
from autotune.execution.outcomes import STOP_REQUESTED
from autotune.execution.ray.trainable import CONFIG_KEY, JobResult, TrialConfig
from autotune.execution.worker import log_path
from autotune.ports import Ask, ShouldStop, Tell

MAX_RETRIES = 3
"""How often a job that the cluster has lost is run again before it counts as failed."""

ACTOR_LOST = "its actor was lost"

FINISHED: str = Searcher.FINISHED


class TuneSearcher(Searcher):  # type: ignore[misc]
    """Tune's searcher. An error of the search ends the run and is kept in :attr:`error`.

    A job whose node, actor or agent was lost is run again, up to :data:`MAX_RETRIES` times, before
    the search is told of a failure.
    """

    def __init__(
        self,
        first: Job,
        ask: Ask,
        tell: Tell,
        should_stop: ShouldStop,
        *,
        workers: int,
        wait_seconds: float,
        unplaceable_reason: Callable[[Job], str | None],
        make_config: Callable[[Job], TrialConfig],
    ) -> None:
        super().__init__()
        self._ask, self._tell, self._advise = ask, tell, should_stop
        self._workers, self._make_config = workers, make_config
        self._unplaceable_reason = unplaceable_reason
        self._wait_seconds, self._waiting_since = wait_seconds, math.inf
        self._waiting = deque([first])
        self._running: dict[str, Job] = {}
        self._unplaced: dict[str, float] = {}
        """Jobs without resources yet, and since when no node could hold them (infinite: some node
        could)."""
        self._losses: dict[int, int] = {}
        self._causes: dict[str, str] = {}
        self._ask_again_at = 0.0
        self.stopped = False
        self.error: BaseException | None = None

    # ------------------------------------------------------------------------ called by Tune

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job as Tune's configuration of a trial; ``None`` if there is none now."""
        if self.is_ending:
            return FINISHED
        if self._workers and len(self._running) >= self._workers:
            return None
        if not self._workers and self._unplaced:
            return None  # the cluster is full
        job = self._guard(self._next)
        if job is None:
            has_work = bool(self._running or self._waiting)
            return None if has_work and not self.is_ending else FINISHED
        self._running[trial_id], self._unplaced[trial_id] = job, math.inf
        return {CONFIG_KEY: self._make_config(job)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if result.get("placed"):
            self._unplaced.pop(trial_id, None)
        if not self.is_ending:
            self._guard(lambda: self._forward_progress(self._running[trial_id], result))

    def placement_timed_out(self, trial_id: str) -> bool:
        """Whether a job without resources has lost the nodes that could have held it, and no other
        node joined in time."""
        if trial_id not in self._unplaced:
            return False
        if self._unplaceable_reason(self._running[trial_id]) is None:
            self._unplaced[trial_id] = math.inf
            return False
        now = time.monotonic()
        self._unplaced[trial_id] = since = min(self._unplaced[trial_id], now)
        return now >= since + self._wait_seconds

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if self.error is None and trial_id in self._running:
            self._guard(lambda: self._finish(trial_id, result or {}))

    def record_failure(self, trial_id: str, report: str) -> None:
        """Record why Tune is about to complete a trial with an error."""
        lines = [line.strip() for line in report.splitlines() if line.strip()]
        errors = [line for line in lines if "Error: " in line]
        self._causes[trial_id] = next(iter([*errors[-1:], *lines[1:2], ACTOR_LOST]))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: all state is in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; see :meth:`save`."""

    # ------------------------------------------------------------------------ called by the driver

    @property
    def is_ending(self) -> bool:
        return self.stopped or self.error is not None

    def interrupt_remaining(self) -> None:
        """Tell jobs without an outcome as interrupted, unless the search itself has failed."""
        remaining, self._running = [*self._running.values(), *self._waiting], {}
        self._waiting.clear()
        for job in remaining:
            self._guard(partial(self._tell, job, Interrupted(STOP_REQUESTED)))

    def _next(self) -> Job | None:
        """The next job that the cluster can hold; ``None`` while a job waits for a node that could
        hold it. If no such node joins in time, the job fails for lack of infrastructure, which says
        nothing about its strategy."""
        while True:
            job = self._waiting.popleft() if self._waiting else self._ask_search()
            if job is None or (reason := self._unplaceable_reason(job)) is None:
                self._waiting_since = math.inf
                return job
            now = time.monotonic()
            self._waiting_since = min(self._waiting_since, now)
            if now < self._waiting_since + self._wait_seconds:
                self._waiting.appendleft(job)
                return None
            self._waiting_since = math.inf
            self._tell(job, Failed(FailureReason.INFRASTRUCTURE, reason))

    def _ask_search(self) -> Job | None:
        """Ask the search for a job. Tune calls many times a second; the search is asked only when
        something may have changed."""
        if self._running and time.monotonic() < self._ask_again_at:
            return None
        job = self._ask()
        self._ask_again_at = 0.0 if job else time.monotonic() + ASK_AGAIN_SECONDS
        return job

    def _forward_progress(self, job: Job, result: dict[str, Any]) -> None:
        for point in result.get("points", ()):
            reason = self._advise(job, point)
            if reason is not None and point.metrics:
                result["actor"].take_advice.remote(reason)

    def _finish(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the outcome of a job that has ended, or run it again if the cluster lost it."""
        job = self._running.pop(trial_id)
        self._ask_again_at = 0.0
        was_placed = self._unplaced.pop(trial_id, None) is None
        job_result = result.get("job_result")
        if isinstance(job_result, JobResult):
            self._forward_progress(job, result)
            _copy_log(job, job_result.log)
            self._tell(job, job_result.outcome)
        elif self.stopped:
            self._tell(job, Interrupted(STOP_REQUESTED))
        elif not was_placed and (reason := self._unplaceable_reason(job)) is not None:
            self._tell(job, Failed(FailureReason.INFRASTRUCTURE, reason))
        else:
            self._retry(job, self._causes.pop(trial_id, ACTOR_LOST))

    def _retry(self, job: Job, cause: str) -> None:
        losses = self._losses[job.trial] = self._losses.get(job.trial, 0) + 1
        if losses <= MAX_RETRIES:
            self._waiting.append(job)
            return
        reason = f"lost {losses} times on the cluster, the last time: {cause}"
        self._tell(job, Failed(FailureReason.INFRASTRUCTURE, reason))

    def _guard(self, action: Callable[[], Any]) -> Any:
        """Run ``action`` and keep its error; Tune would log the error and continue."""
        if self.error is not None:
            return None
        try:
            return action()
        except BaseException as error:
            self.error = error
            return None


class ErrorReportingScheduler(FIFOScheduler):  # type: ignore[misc]
    """Runs trials in order. Tune tells a scheduler, but not a searcher, why a trial failed."""

    def __init__(self, searcher: TuneSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        report = Path(trial.error_file) if trial.error_file else None
        self._searcher.record_failure(trial.trial_id, report.read_text() if report else "")


def _copy_log(job: Job, log: bytes) -> None:
    """Write a trial's log to the driver's folder of the trial, unless the disk is shared."""
    path = Path(log_path(job))
    if log and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(log)
