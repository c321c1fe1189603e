"""Lost nodes, actors and agents, resources that no node has, and wrong addresses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from contracts.executor_contract import never_stop
from contracts.executor_jobs import make_job
from ray.cluster_utils import Cluster

from autotune.domain import Completed, Failed, FailureReason, Job, Outcome, Resources, Strategy
from autotune.errors import ExecutionError
from autotune.execution.ray.executor import RayExecutor
from tests.execution.ray_clusters import OBJECT_STORE, kill_actors
from tests.execution.ray_jobs import evaluate

NODE = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head node that runs no trials; tests add nodes."""
    head = {**NODE, "num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.connect()  # to the head, while it is the only node
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Any]:
    added = cluster.add_node(**NODE, labels={"node-class": "cpu-small"})
    yield added
    if added in cluster.worker_nodes:
        cluster.remove_node(added)


@pytest.fixture
def executor(cluster: Cluster, node: Any) -> Iterator[RayExecutor]:
    executor = RayExecutor(address=cluster.address, preload=())
    yield executor
    executor.close()


def run_jobs(executor: RayExecutor, *jobs: Job) -> list[tuple[int, Outcome]]:
    queue = iter(jobs)
    ended: list[tuple[int, Outcome]] = []
    executor.run(
        lambda: next(queue, None),
        evaluate,
        lambda job, outcome: ended.append((job.trial, outcome)),
        never_stop,
    )
    return ended


def run_with_fault(executor: RayExecutor, job: Job, fault: Callable[[], None]) -> Outcome:
    """The outcome of a job that hangs in its first run, during which ``fault`` is called."""
    first = Path(job.directory) / "pid"
    with ThreadPoolExecutor(1) as pool:  # Ray starts nodes from the main thread only
        run = pool.submit(run_jobs, executor, job)
        while not first.exists():
            time.sleep(0.05)
        fault()
        [(_, outcome)] = run.result(180)
    assert isinstance(outcome, Completed)
    assert outcome.result.environment["pid"] != int(first.read_text())
    wait_for_end(int(first.read_text()))
    assert len(outcome.result.curve) == 1, "nothing of the lost run"
    return outcome


def wait_for_end(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:  # the timeout of the test ends the wait
            time.sleep(0.05)


def test_job_of_a_lost_node_runs_again_on_a_new_node(
    cluster: Cluster, node: Any, executor: RayExecutor, tmp_path: Path
) -> None:
    added = []

    def fault() -> None:
        cluster.remove_node(node, allow_graceful=False)
        added.append(cluster.add_node(**NODE))

    run_with_fault(executor, make_job(tmp_path, do="hang_the_first_time"), fault)
    cluster.remove_node(added[0])


@pytest.mark.parametrize("actor", ["RayTrial", "Agent"])
def test_job_of_a_killed_actor_runs_again(
    cluster: Cluster, executor: RayExecutor, tmp_path: Path, actor: str
) -> None:
    job = make_job(tmp_path, do="hang_the_first_time")
    run_with_fault(executor, job, lambda: kill_actors(cluster, actor))


def test_job_lost_repeatedly_fails_for_infrastructure(
    executor: RayExecutor, tmp_path: Path
) -> None:
    jobs = [make_job(tmp_path, 0, do="kill_the_agent"), make_job(tmp_path, 1)]
    (_, lost), (_, after) = sorted(run_jobs(executor, *jobs))
    assert isinstance(lost, Failed)
    assert lost.failure == FailureReason.INFRASTRUCTURE
    assert "lost 4 times" in lost.reason
    assert "parent process was lost" in lost.reason
    assert isinstance(after, Completed)


def test_job_that_no_node_can_hold_fails_for_infrastructure(
    executor: RayExecutor, tmp_path: Path
) -> None:
    executor._wait_seconds = 1.0
    unknown_class = Strategy({"do": "nothing", "node_class": "gpu-a10"})
    jobs = [
        make_job(tmp_path, 0, resources=Resources(threads=64)),
        make_job(tmp_path, 1, strategy=unknown_class),
    ]
    (_, large), (_, elsewhere) = run_jobs(executor, *jobs)
    assert isinstance(large, Failed)
    assert isinstance(elsewhere, Failed)
    assert (large.failure, large.reason) == ("infrastructure", "no node of the cluster has 64 CPU")
    assert elsewhere.reason == "no node of class gpu-a10 of the cluster has 1 CPU"


def test_strategy_selects_its_node_class(
    cluster: Cluster, executor: RayExecutor, tmp_path: Path
) -> None:
    large = cluster.add_node(**NODE, labels={"node-class": "cpu-large"})
    try:
        classes = sorted(name or "" for name, _ in executor.hosts())
        assert classes == ["", "cpu-large", "cpu-small"]
        strategy = Strategy({"do": "nothing", "node_class": "cpu-large"})
        jobs = [make_job(tmp_path, n, strategy=strategy) for n in range(2)]
        nodes = [outcome.result.environment["node"] for _, outcome in run_jobs(executor, *jobs)]
        assert nodes == [large.node_id] * 2
    finally:
        cluster.remove_node(large)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("ray://127.0.0.1:1", "ray://127.0.0.1:1 is a Ray Client address"),
        ("somewhere", "no address of a Ray cluster"),
    ],
)
def test_address_without_a_cluster(address: str, message: str) -> None:
    with pytest.raises(ExecutionError, match=message) as caught:
        RayExecutor(address=address)
    assert caught.value.hint
