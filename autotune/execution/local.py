"""Runs jobs on this host, each in its own worker process, forked from a forkserver.

The driver waits in one blocking call: for a message, for the end of a worker, for a time limit, or
for :meth:`LocalExecutor.stop`. In between it uses no CPU time, so it does not disturb the trials.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from autotune.domain import Interrupted, Job, WorkloadProfile
from autotune.errors import ExecutionError
from autotune.execution.job import RunningJob
from autotune.execution.memory import default_limit_gib
from autotune.execution.messages import Call, RunTrial
from autotune.execution.outcomes import STOP_REQUESTED
from autotune.execution.resources import ResourcePool
from autotune.execution.spawner import Spawner, call_in_worker, require_importable
from autotune.hardware.cores import usable_cores
from autotune.ports import Ask, Clock, Evaluate, P, ShouldStop, T, Tell

log = logging.getLogger(__name__)

PRELOAD = ("autotune.execution.preload",)

ASK_AGAIN_SECONDS = 5.0
"""While workers are idle, call ``ask`` again after this many seconds: another driver may have died,
or the database may be back."""

STOP_SECONDS = 5.0
"""How long the forkserver has to report the end of the workers that :meth:`LocalExecutor.stop` has
killed."""

WAIT_FOR_HOST_SECONDS = 0.2
"""How often to try again to get resources that another search on this host uses."""


class LocalExecutor:
    """Runs ``workers`` jobs concurrently on disjoint cores and accelerators of this host.

    ``preload`` names the modules that the forkserver imports for all workers. A job without a
    memory limit gets ``memory_gib``; by default all workers share 90% of the memory that is
    available now.
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
        self._pool = ResourcePool(usable_cores())
        self._stopped = False
        self._has_noted_waiting = False
        self._killer: threading.Timer | None = None
        self._stop_reader, self._stop_writer = os.pipe()
        self._spawner = Spawner(preload)
        self._closed = False

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        """Ask for jobs while workers are idle, run each, tell each outcome; return when ``ask``
        returns ``None`` and no job is running.

        A job whose resources are not free waits; no other job is asked for meanwhile.
        """
        require_importable(evaluate)
        running: list[RunningJob] = []
        waiting: Job | None = None
        try:
            while True:
                waiting = self._start_jobs(running, waiting, ask, evaluate, tell)
                if not running:
                    if not self._pool.is_waiting:
                        return
                    wait([self._stop_reader], timeout=WAIT_FOR_HOST_SECONDS)
                    continue
                is_idle = waiting is None and len(running) < self._workers
                timeout = ASK_AGAIN_SECONDS if is_idle else math.inf
                timeout = WAIT_FOR_HOST_SECONDS if self._pool.is_waiting else timeout
                ended = self._wait_for_ends(running, should_stop, timeout)
                if ended:
                    self._note_concurrent(running)
                for job in ended:
                    running.remove(job)
                    self._pool.release(job.job)
                    tell(job.job, job.finish())
        finally:
            self._pool.stop_waiting()
            for job in running:
                job.end(Interrupted("the driver ended"))
                self._pool.release(job.job)
                job.finish()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` once in a worker and return its result, which must be picklable.

        :raises AutotuneError: as raised there.
        :raises ExecutionError: for any other exception there, or when the worker is lost.
        """
        require_importable(function)
        call = Call(function, args, kwargs)
        result: T = call_in_worker(self._spawner.spawn(), call, self._stop_reader)
        return result

    def stop(self) -> None:
        """End running jobs now (reported as ``Interrupted``) and start no more; safe from a signal
        handler or thread.

        A forkserver that has reported no end after :data:`STOP_SECONDS`, because it is suspended
        for example, is killed.
        """
        if not self._stopped:
            self._stopped = True
            os.write(self._stop_writer, b"!")
            self._killer = threading.Timer(STOP_SECONDS, self._spawner.kill)
            self._killer.daemon = True
            self._killer.start()

    def close(self) -> None:
        """Leave no process behind. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._killer is not None:
            self._killer.cancel()
        self._spawner.close()
        os.close(self._stop_reader)
        os.close(self._stop_writer)

    def _start_jobs(
        self,
        running: list[RunningJob],
        waiting: Job | None,
        ask: Ask,
        evaluate: Evaluate,
        tell: Tell,
    ) -> Job | None:
        """Start jobs while workers are idle; return a job whose resources are not free yet."""
        while not self._stopped and len(running) < self._workers:
            if waiting is None and not running and not self._pool.has_free_core():
                self._note_waiting()
                return None  # a trial would only wait for its turn
            job = waiting or ask()
            if job is None:
                self._pool.stop_waiting()
                return None
            waiting = job
            cores = self._pool.acquire(job.resources)
            if cores is None:
                if self._pool.is_waiting:
                    self._note_waiting()
                return waiting
            started = self._start(replace(job, cores=cores), evaluate, tell)
            waiting = None
            if started is None:
                return None
            running.append(started)
            self._note_concurrent(running)
        if self._stopped:
            self._pool.stop_waiting()
            if waiting is not None:
                tell(waiting, Interrupted(STOP_REQUESTED))
                return None
        return waiting

    def _note_waiting(self) -> None:
        if not self._has_noted_waiting:
            log.warning("another search on this host uses its cores or GPUs: trials take turns")
            self._has_noted_waiting = True

    def _note_concurrent(self, running: Sequence[RunningJob]) -> None:
        """Note in each running job how many others run on this host: all trials of another search
        count as one."""
        others = len(running) - 1 + self._pool.are_others_running()
        for job in running:
            job.concurrent_jobs = max(job.concurrent_jobs, others)

    def _start(self, job: Job, evaluate: Evaluate, tell: Tell) -> RunningJob | None:
        memory_gib = job.limits.memory_gib or self._memory_gib
        try:
            worker = self._spawner.spawn()
        except ExecutionError as error:
            self._pool.release(job)
            tell(job, Interrupted(STOP_REQUESTED if self._stopped else error.message))
            if self._stopped:
                return None
            raise
        # A worker that dies before it has read its order is detected by its status.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(RunTrial(job, evaluate, memory_gib))
        return RunningJob(job, worker)

    def _wait_for_ends(
        self, running: Sequence[RunningJob], should_stop: ShouldStop, timeout: float
    ) -> list[RunningJob]:
        """Serve the running jobs until a worker has ended, for at most ``timeout`` seconds; return
        the jobs whose workers have ended."""
        deadline = time.monotonic() + timeout
        while True:
            if self._stopped:
                for job in running:
                    job.end(Interrupted(STOP_REQUESTED))
            sources: list[Any] = [source for job in running for source in job.sources()]
            if not self._stopped:
                sources.append(self._stop_reader)
            seconds = min(
                max(0.0, deadline - time.monotonic()), *(j.seconds_to_deadline() for j in running)
            )
            wait(sources, timeout=None if seconds == math.inf else seconds)
            ended = [job for job in running if job.serve(should_stop)]
            if ended or time.monotonic() >= deadline:
                return ended
