"""Runs jobs here, each in a worker process of its own that a forkserver has ready in no time.

The driver waits blocking: it wakes for a message, for the end of a worker, for a time limit or for
:meth:`LocalExecutor.stop`, and costs the running trials nothing in between.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any, ParamSpec, TypeVar

from autotune.domain import Interrupted, Job, WorkloadProfile
from autotune.errors import ExecutionError
from autotune.execution.job import RunningJob
from autotune.execution.memory import default_limit_gib
from autotune.execution.messages import Call, RunTrial
from autotune.execution.outcomes import STOP_REQUESTED
from autotune.execution.resources import ResourcePool, usable_cores
from autotune.execution.spawner import Spawner, call_in_worker, require_importable
from autotune.ports import Ask, Clock, Evaluate, ShouldStop, Tell

P = ParamSpec("P")
T = TypeVar("T")

PRELOAD = ("autotune.execution.preload",)

ASK_AGAIN_SECONDS = 5.0
"""With room for another job while others run: there may be one by now, from another driver that
died or a database that came back."""


class LocalExecutor:
    """``workers`` jobs at once on disjoint cores and accelerators of this host.

    ``preload`` names the modules that workers find imported. A job without a memory limit of its
    own gets ``memory_gib``, by default an equal share of 90% of what is available now.
    """

    clock: Clock | None = None
    workload: WorkloadProfile | None = None

    def __init__(
        self,
        workers: int = 1,
        *,
        preload: Sequence[str] = PRELOAD,
        memory_gib: float | None = None,
    ) -> None:
        self._workers = workers
        self._memory_gib = memory_gib or default_limit_gib(workers)
        self._seats = ResourcePool(usable_cores())
        self._stopped = False
        self._wake, self._waker = os.pipe()
        self._spawner = Spawner(preload)
        self._closed = False

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, advise: ShouldStop) -> None:
        """Ask for jobs while there is room, run each, tell each outcome; return when ``ask`` has
        nothing and nothing is running.

        A job that does not fit beside those running waits, and no other is asked for meanwhile.
        """
        require_importable(evaluate)
        running: list[RunningJob] = []
        waiting: Job | None = None
        try:
            while True:
                waiting = self._fill(running, waiting, ask, evaluate, tell)
                if not running:
                    return
                has_room = waiting is None and len(running) < self._workers
                at_most = ASK_AGAIN_SECONDS if has_room else math.inf
                for run in self._wait_for_ends(running, advise, at_most):
                    running.remove(run)
                    self._seats.release(run.job)
                    tell(run.job, run.finish())
        finally:
            for run in running:
                run.end(Interrupted("the driver gave up"))
                self._seats.release(run.job)
                run.finish()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` once in a worker and return its result, which must be picklable.

        :raises AutotuneError: as raised there.
        :raises ExecutionError: for any other exception there, or when the worker is lost.
        """
        require_importable(function)
        call = Call(function, args, kwargs)
        result: T = call_in_worker(self._spawner.spawn(), call, self._wake)
        return result

    def stop(self) -> None:
        """End running jobs now (told as ``Interrupted``) and start no more; safe from a signal
        handler or thread."""
        if not self._stopped:
            self._stopped = True
            os.write(self._waker, b"!")

    def close(self) -> None:
        """Leave no process behind. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._spawner.close()
        os.close(self._wake)
        os.close(self._waker)

    def _fill(
        self,
        running: list[RunningJob],
        waiting: Job | None,
        ask: Ask,
        evaluate: Evaluate,
        tell: Tell,
    ) -> Job | None:
        """Start jobs while there is room; return the one asked for that does not fit yet."""
        while not self._stopped and len(running) < self._workers:
            job = waiting or ask()
            if job is None:
                return None
            waiting = job
            cores = self._seats.acquire(job.resources)
            if cores is None:
                return waiting
            running.append(self._start(replace(job, cores=cores), evaluate, tell))
            waiting = None
            for run in running:
                run.beside = max(run.beside, len(running) - 1)
        if self._stopped and waiting is not None:
            tell(waiting, Interrupted(STOP_REQUESTED))
            return None
        return waiting

    def _start(self, job: Job, evaluate: Evaluate, tell: Tell) -> RunningJob:
        memory_gib = job.limits.memory_gib or self._memory_gib
        try:
            worker = self._spawner.spawn()
        except ExecutionError as error:
            self._seats.release(job)
            tell(job, Interrupted(error.message))
            raise
        # A worker that dies before it has read its order is found by its status.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(RunTrial(job, evaluate, memory_gib))
        return RunningJob(job, worker)

    def _wait_for_ends(
        self, running: Sequence[RunningJob], advise: ShouldStop, at_most: float
    ) -> list[RunningJob]:
        """Serve running jobs until at least one worker has ended, or for ``at_most`` seconds;
        return those that have ended."""
        until = time.monotonic() + at_most
        while True:
            if self._stopped:
                for run in running:
                    run.end(Interrupted(STOP_REQUESTED))
            sources: list[Any] = [source for run in running for source in run.sources()]
            if not self._stopped:
                sources.append(self._wake)
            left = max(0.0, until - time.monotonic())
            patience = min(left, *(run.seconds_to_deadline() for run in running))
            wait(sources, timeout=None if patience == math.inf else patience)
            ended = [run for run in running if run.serve(advise)]
            if ended or time.monotonic() >= until:
                return ended
