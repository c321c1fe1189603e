"""The executor: Ray Tune runs the loop, see :mod:`autotune.execution.ray.searcher` for its two ends."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import ray
from ray import tune
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError

from autotune.domain import Host, Job, WorkloadProfile
from autotune.errors import ExecutionError
from autotune.execution.local import PRELOAD
from autotune.execution.messages import Call
from autotune.execution.ray.cluster import Cluster
from autotune.execution.ray.parcel import Parcel
from autotune.execution.ray.resources import bundle, node_class, nodes
from autotune.execution.ray.searcher import ErrorReportingScheduler, TuneSearcher
from autotune.execution.ray.trainable import RayTrial, TrialConfig
from autotune.execution.spawner import require_importable
from autotune.ports import Ask, Clock, Evaluate, ShouldStop, Tell

P = ParamSpec("P")
T = TypeVar("T")

WAIT_SECONDS = 300.0
"""Autoscalers bring a node within a few minutes."""

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results belong in the store
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the command line's
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # the store is the truth
    "TUNE_RESULT_BUFFER_LENGTH": "1",  # a rung waits for its answer
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "86400",  # a trial may well wait for room
    "RAY_AIR_NEW_OUTPUT": "0",
}


class RayExecutor:
    """Runs jobs on the cluster at ``address`` (``auto`` or ``HOST:PORT``), or
    without one on a Ray of its own here. ``workers`` jobs run at once; 0 is as many as fit.

    ``preload`` names the modules that workers find imported. A job without a memory limit of its
    own gets ``memory_gib``, by default its share of 90% of its node's. A job that no node can hold
    waits ``wait_seconds`` for one to join; an autoscaler is asked for it.
    """

    clock: Clock | None = None
    workload: WorkloadProfile | None = None

    def __init__(
        self,
        workers: int = 0,
        *,
        address: str | None = None,
        preload: Sequence[str] = PRELOAD,
        memory_gib: float | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._workers, self._memory_gib = workers, memory_gib
        self._wait_seconds = wait_seconds
        self._cluster: Cluster | None = Cluster(address, preload)
        self._cluster.prestart_workers(workers or 1)
        self._desk: TuneSearcher | None = None
        self._stopped = False

    @property
    def closed(self) -> bool:
        return self._cluster is None

    def hosts(self) -> list[tuple[str | None, Host]]:
        """The hardware of every node, with its node class where it has one."""
        return self._open().hosts()

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, advise: ShouldStop) -> None:
        """Ask for jobs while there is room, run each, tell each outcome; return when ``ask`` has
        nothing and nothing is running."""
        require_importable(evaluate)
        cluster = self._open()
        first = None if self._stopped else ask()
        if first is None:
            return
        parcel = Parcel.of(evaluate)
        desk = self._desk = TuneSearcher(
            first,
            ask,
            tell,
            advise,
            workers=self._workers,
            wait_seconds=self._wait_seconds,
            objection=self._objection,
            order=lambda job: TrialConfig(
                job, parcel, cluster.session, cluster.home, self._memory_gib
            ),
        )
        desk.stopped = self._stopped
        try:
            _run(desk, pending=self._workers or 1)
        finally:
            self._desk = None
            desk.give_up()
        if desk.error is not None:
            raise desk.error

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` once in a worker on the driver's own node, or the head where the driver
        has none, and return its result, which must be picklable.

        :raises AutotuneError: as raised there.
        :raises ExecutionError: for any other exception there, or when the worker is lost.
        """
        require_importable(function)
        cluster = self._open()
        try:
            agent = cluster.agent(cluster.home)
            result, error = ray.get(agent.call.remote(Parcel.of(Call(function, args, kwargs))))
        except RayError as lost:
            raise ExecutionError(f"{function.__qualname__} was lost with its node") from lost
        if error is not None:
            raise error
        returned: T = result
        return returned

    def stop(self) -> None:
        """End running jobs now (told as ``Interrupted``) and start no more; safe from a signal
        handler or thread."""
        self._stopped = True
        if self._desk is not None:
            self._desk.stopped = True
        if self._cluster is not None:
            self._cluster.end_work()

    def close(self) -> None:
        """Leave no process behind. Idempotent."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _open(self) -> Cluster:
        if self._cluster is None:
            raise ExecutionError("the executor is closed")
        return self._cluster

    def _objection(self, job: Job) -> str | None:
        if self._open().can_hold(job):
            return None
        request_resources(bundles=[bundle(job)] * nodes(job))
        held = " and ".join(f"{n:g} {name}" for name, n in bundle(job).items())
        where = f" of class {node_class(job)}" if node_class(job) else ""
        if nodes(job) > 1:
            return f"the cluster has no {nodes(job)} nodes{where} with {held} each"
        return f"no node{where} of the cluster has {held}"


class _Stop(tune.Stopper):  # type: ignore[misc]
    """Ends the run, or one trial of it, when the desk says so."""

    def __init__(self, desk: TuneSearcher) -> None:
        self._desk = desk

    def __call__(self, trial_id: str, result: object) -> bool:
        return self._desk.placement_timed_out(trial_id)

    def stop_all(self) -> bool:
        return self._desk.ending

    def __getstate__(self) -> dict[str, object]:
        """Tune writes a picture of its run, which nobody reads: the store is the truth."""
        return {}


def _run(desk: TuneSearcher, pending: int) -> None:
    """One run of Ray Tune, which keeps what it must on disk in a folder of no importance. At most
    ``pending`` jobs are asked for before there is room for them, so that actors start together."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it would report lost jobs at length
    os.environ.update({key: value for key, value in SETTINGS.items() if key not in os.environ})
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(pending)
    folder = tempfile.mkdtemp(prefix="autotune-tune-")
    try:
        tune.run(
            RayTrial,
            search_alg=desk,
            scheduler=ErrorReportingScheduler(desk),
            stop=_Stop(desk),
            num_samples=-1,
            reuse_actors=True,
            storage_path=folder,
            raise_on_failed_trial=False,
            verbose=0,
            _remote=False,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
