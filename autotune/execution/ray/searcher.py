"""Between Ray Tune and the search: what Tune calls to get the next job and to give outcomes."""

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
from autotune.execution.ray.trainable import JobResult
from autotune.execution.worker import log_path
from autotune.ports import Ask, ShouldStop, Tell

RETRIES = 3
"""How often a job is run again that the cluster has lost, before it counts as failed."""

LOST = "its actor was lost"

FINISHED: str = Searcher.FINISHED


class TuneSearcher(Searcher):  # type: ignore[misc]
    """Tune's searcher. An error of the search ends the run and is kept in :attr:`error`.

    A job whose node, actor or agent was lost is handed out again, up to :data:`RETRIES` times; the
    search hears of it only if that does not help.
    """

    def __init__(
        self,
        first: Job,
        ask: Ask,
        tell: Tell,
        advise: ShouldStop,
        *,
        workers: int,
        wait_seconds: float,
        objection: Callable[[Job], str | None],
        order: Callable[[Job], Any],
    ) -> None:
        super().__init__()
        self._ask, self._tell, self._advise = ask, tell, advise
        self._workers, self._objection, self._order = workers, objection, order
        self._wait_seconds, self._waiting_since = wait_seconds, math.inf
        self._waiting = deque([first])
        self._running: dict[str, Job] = {}
        self._unplaced: dict[str, float] = {}
        """Jobs that have no room yet, and since when no node could hold them (or never)."""
        self._losses: dict[int, int] = {}
        self._causes: dict[str, str] = {}
        self._ask_again_at = 0.0
        self.stopped = False
        self.error: BaseException | None = None

    # ------------------------------------------------------------------------ what Tune calls

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job as Tune's configuration of a trial; ``None`` for not now."""
        if self.ending:
            return FINISHED
        if self._workers and len(self._running) >= self._workers:
            return None
        if not self._workers and self._unplaced:
            return None  # the cluster is full
        job = self._guarded(self._next)
        if job is None:
            return None if (self._running or self._waiting) and not self.ending else FINISHED
        self._running[trial_id], self._unplaced[trial_id] = job, math.inf
        return {"order": self._order(job)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if result.get("placed"):
            self._unplaced.pop(trial_id, None)
        if not self.ending:
            self._guarded(lambda: self._hear(self._running[trial_id], result))

    def placement_timed_out(self, trial_id: str) -> bool:
        """Whether a job that had no room yet has lost the nodes that could have held it, and no
        other came in time."""
        if trial_id not in self._unplaced:
            return False
        if self._objection(self._running[trial_id]) is None:
            self._unplaced[trial_id] = math.inf
            return False
        now = time.monotonic()
        self._unplaced[trial_id] = since = min(self._unplaced[trial_id], now)
        return now >= since + self._wait_seconds

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if self.error is None and trial_id in self._running:
            self._guarded(lambda: self._conclude(trial_id, result or {}))

    def record_failure(self, trial_id: str, report: str) -> None:
        """Remember why Tune is about to complete a trial with an error."""
        lines = [line.strip() for line in report.splitlines() if line.strip()]
        raised = [line for line in lines if "Error: " in line]
        self._causes[trial_id] = next(iter([*raised[-1:], *lines[1:2], LOST]))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see :meth:`save`."""

    # ---------------------------------------------------------------------------- our own side

    @property
    def ending(self) -> bool:
        return self.stopped or self.error is not None

    def give_up(self) -> None:
        """Tell what was asked for and has no outcome, unless the search itself is broken."""
        left, self._running = [*self._running.values(), *self._waiting], {}
        self._waiting.clear()
        for job in left:
            self._guarded(partial(self._tell, job, Interrupted(STOP_REQUESTED)))

    def _next(self) -> Job | None:
        """A job that the cluster can hold; none while one waits for a node that could. Where that
        does not come, it is no verdict on the strategy."""
        while True:
            job = self._waiting.popleft() if self._waiting else self._asked()
            if job is None or (objection := self._objection(job)) is None:
                self._waiting_since = math.inf
                return job
            now = time.monotonic()
            self._waiting_since = min(self._waiting_since, now)
            if now < self._waiting_since + self._wait_seconds:
                self._waiting.appendleft(job)
                return None
            self._waiting_since = math.inf
            self._tell(job, Failed(FailureReason.INFRASTRUCTURE, objection))

    def _asked(self) -> Job | None:
        """Tune comes many times a second; the search is asked when something may have changed."""
        if self._running and time.monotonic() < self._ask_again_at:
            return None
        job = self._ask()
        self._ask_again_at = 0.0 if job else time.monotonic() + ASK_AGAIN_SECONDS
        return job

    def _hear(self, job: Job, result: dict[str, Any]) -> None:
        for point in result.get("points", ()):
            reason = self._advise(job, point)
            if reason is not None and point.metrics:
                result["actor"].take_advice.remote(reason)

    def _conclude(self, trial_id: str, result: dict[str, Any]) -> None:
        job = self._running.pop(trial_id)
        self._ask_again_at = 0.0
        had_room = self._unplaced.pop(trial_id, None) is None
        ending = result.get("ending")
        if isinstance(ending, JobResult):
            self._hear(job, result)
            _bring_log(job, ending.log)
            self._tell(job, ending.outcome)
        elif self.stopped:
            self._tell(job, Interrupted(STOP_REQUESTED))
        elif not had_room and (objection := self._objection(job)) is not None:
            self._tell(job, Failed(FailureReason.INFRASTRUCTURE, objection))
        else:
            self._lose(job, self._causes.pop(trial_id, LOST))

    def _lose(self, job: Job, cause: str) -> None:
        losses = self._losses[job.trial] = self._losses.get(job.trial, 0) + 1
        if losses <= RETRIES:
            self._waiting.append(job)
            return
        times = f"lost {losses} times on the cluster, the last time: {cause}"
        self._tell(job, Failed(FailureReason.INFRASTRUCTURE, times))

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Tune would log an error and go on."""
        if self.error is not None:
            return None
        try:
            return action()
        except BaseException as error:
            self.error = error
            return None


class ErrorReportingScheduler(FIFOScheduler):  # type: ignore[misc]
    """Trials come in their order. A scheduler is told more by Tune than a searcher: why a trial
    failed."""

    def __init__(self, desk: TuneSearcher) -> None:
        super().__init__()
        self._desk = desk

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        report = Path(trial.error_file) if trial.error_file else None
        self._desk.record_failure(trial.trial_id, report.read_text() if report else "")


def _bring_log(job: Job, log: bytes) -> None:
    """Put a trial's log where the driver looks for it, unless the disk is shared."""
    path = Path(log_path(job))
    if log and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(log)
