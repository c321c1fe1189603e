"""`RayExecutor`: runs jobs on a Ray cluster. Ray Tune runs the loop.

:mod:`autotune.execution.ray.searcher` connects Tune to the search.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence

import ray
from ray import cloudpickle, tune
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError

from autotune.domain import Host, Job, WorkloadProfile
from autotune.errors import ExecutionError
from autotune.execution.local import PRELOAD
from autotune.execution.messages import Call
from autotune.execution.ray.cluster import Cluster
from autotune.execution.ray.resources import bundle, node_class, num_nodes
from autotune.execution.ray.searcher import ErrorReportingScheduler, TuneSearcher
from autotune.execution.ray.trainable import RayTrial, TrialConfig
from autotune.execution.spawner import require_importable
from autotune.ports import Ask, Clock, Evaluate, P, ShouldStop, T, Tell

NODE_WAIT_SECONDS = 300.0
"""How long a job waits for a node that can hold it. Autoscalers add a node within minutes."""

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results belong in the store
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command line handles Ctrl-C
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # all state is in the store
    "TUNE_RESULT_BUFFER_LENGTH": "1",  # a rung waits for its answer
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "86400",  # a trial can wait long for resources
    "RAY_AIR_NEW_OUTPUT": "0",
}


class RayExecutor:
    """Runs jobs on the cluster at ``address`` (``auto`` or ``HOST:PORT``).

    Without an address it starts Ray on this host. ``workers`` jobs run concurrently; 0 means as
    many as the cluster can hold. ``preload`` names the modules that forkservers import for all
    workers. A job without a memory limit gets ``memory_gib``; by default its share of 90% of the
    memory of its node. A job that no node can hold waits ``wait_seconds`` for one to join; an
    autoscaler is asked to add it.
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
        wait_seconds: float = NODE_WAIT_SECONDS,
    ) -> None:
        self._workers, self._memory_gib = workers, memory_gib
        self._wait_seconds = wait_seconds
        self._cluster: Cluster | None = Cluster(address, preload)
        self._cluster.prestart_workers(workers or 1)
        self._searcher: TuneSearcher | None = None
        self._stopped = False

    @property
    def closed(self) -> bool:
        return self._cluster is None

    def hosts(self) -> list[tuple[str | None, Host]]:
        """The hardware of every node, with its node class where it has one."""
        return self._open().hosts()

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        """Ask for jobs while workers are idle, run each, tell each outcome; return when ``ask``
        returns ``None`` and no job is running."""
        require_importable(evaluate)
        cluster = self._open()
        first = None if self._stopped else ask()
        if first is None:
            return
        pickled = cloudpickle.dumps(evaluate)
        searcher = self._searcher = TuneSearcher(
            first,
            ask,
            tell,
            should_stop,
            workers=self._workers,
            wait_seconds=self._wait_seconds,
            unplaceable_reason=self._unplaceable_reason,
            make_config=lambda job: TrialConfig(
                job, pickled, cluster.session, cluster.driver_node, self._memory_gib
            ),
        )
        searcher.stopped = self._stopped
        try:
            _run(searcher, pending=self._workers or 1)
        finally:
            self._searcher = None
            searcher.interrupt_remaining()
        if searcher.error is not None:
            raise searcher.error

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` once in a worker on the driver's node (the head node if the driver is
        on none) and return its result, which must be picklable.

        :raises AutotuneError: as raised there.
        :raises ExecutionError: for any other exception there, or when the worker is lost.
        """
        require_importable(function)
        cluster = self._open()
        try:
            agent = cluster.agent(cluster.driver_node)
            pickled = cloudpickle.dumps(Call(function, args, kwargs))
            result, error = ray.get(agent.call.remote(pickled))
        except RayError as lost:
            raise ExecutionError(f"{function.__qualname__} was lost with its node") from lost
        if error is not None:
            raise error
        value: T = result
        return value

    def stop(self) -> None:
        """End running jobs now (reported as ``Interrupted``) and start no more; safe from a signal
        handler or thread."""
        self._stopped = True
        if self._searcher is not None:
            self._searcher.stopped = True
        if self._cluster is not None:
            self._cluster.kill_workers()

    def close(self) -> None:
        """Leave no process behind. Idempotent."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _open(self) -> Cluster:
        if self._cluster is None:
            raise ExecutionError("the executor is closed")
        return self._cluster

    def _unplaceable_reason(self, job: Job) -> str | None:
        """Why no node of the cluster can hold the job, even if nothing else ran; ``None`` if one
        can. Otherwise an autoscaler is asked for nodes that can."""
        if self._open().can_hold(job):
            return None
        count = num_nodes(job)
        request_resources(bundles=[bundle(job)] * count)
        required = " and ".join(f"{n:g} {name}" for name, n in bundle(job).items())
        of_class = f" of class {node_class(job)}" if node_class(job) else ""
        if count > 1:
            return f"the cluster has no {count} nodes{of_class} with {required} each"
        return f"no node{of_class} of the cluster has {required}"


class _Stopper(tune.Stopper):  # type: ignore[misc]
    """Ends the run, or one trial of it, when the searcher says so."""

    def __init__(self, searcher: TuneSearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: object) -> bool:
        return self._searcher.placement_timed_out(trial_id)

    def stop_all(self) -> bool:
        return self._searcher.is_ending

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles its run to a checkpoint, which is never read."""
        return {}


def _run(searcher: TuneSearcher, pending: int) -> None:
    """Run Ray Tune once. Its files go to a temporary folder.

    At most ``pending`` jobs are requested ahead of their resources, so that actors start together.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it reports lost jobs at length
    os.environ.update({key: value for key, value in SETTINGS.items() if key not in os.environ})
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(pending)
    folder = tempfile.mkdtemp(prefix="autotune-tune-")
    try:
        tune.run(
            RayTrial,
            search_alg=searcher,
            scheduler=ErrorReportingScheduler(searcher),
            stop=_Stopper(searcher),
            num_samples=-1,
            reuse_actors=True,
            storage_path=folder,
            raise_on_failed_trial=False,
            verbose=0,
            _remote=False,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
