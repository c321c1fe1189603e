"""Trials on several nodes: distributed ranks, assigned GPUs, shared actors, and caches of nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
from contracts import executor_jobs
from contracts.executor_contract import never_stop
from ray.cluster_utils import Cluster

from autotune.domain import Completed, Failed, Job, Limits, Outcome, Resources, Strategy
from autotune.execution.ray.executor import RayExecutor
from tests.execution.ray_clusters import OBJECT_STORE, actor_processes
from tests.execution.ray_jobs import evaluate

PRELOAD = ("torch", "autotune.trial.distributed.collectives", "tests.execution.ray_jobs")
NODE = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": OBJECT_STORE}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, each with its own cache, and a head node that runs no trials."""
    head = {**NODE, "num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.connect()
    for _ in range(2):
        cluster.add_node(**NODE, env_vars={"AUTOTUNE_CACHE": str(tmp_path_factory.mktemp("cache"))})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def executor(cluster: Cluster) -> Iterator[RayExecutor]:
    """Its agents take seconds to import the modules of the ranks."""
    executor = RayExecutor(address=cluster.address, preload=PRELOAD)
    yield executor
    executor.close()


def make_job(directory: Path, number: int = 0, **fields: Any) -> Job:
    """A job with a time limit that suffices on a busy machine."""
    limits = Limits(memory_gib=1.0, minutes=5.0)
    job: Job = executor_jobs.make_job(directory, number, limits=limits, **fields)
    return job


def run_jobs(executor: RayExecutor, *jobs: Job) -> dict[int, Outcome]:
    queue = iter(jobs)
    ended: dict[int, Outcome] = {}

    def tell(job: Job, outcome: Outcome) -> None:
        ended[job.trial] = outcome

    executor.run(lambda: next(queue, None), evaluate, tell, never_stop)
    return ended


def two_node_job(directory: Path, do: str) -> Job:
    """Two ranks on two nodes."""
    strategy = Strategy({"do": do, "parallelism": "ddp:2", "nodes": 2})
    return make_job(directory, strategy=strategy, resources=Resources(processes=2))


def environment_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Completed), outcome
    return outcome.result.environment


def test_ranks_of_a_trial_communicate_over_two_nodes(executor: RayExecutor, tmp_path: Path) -> None:
    environment = environment_of(run_jobs(executor, two_node_job(tmp_path, "gather"))[0])
    assert environment["rank"] == 0
    assert [rank[:4] for rank in environment["ranks"]] == [
        ["0", "0", "1", "2"],
        ["1", "0", "1", "2"],
    ]
    assert len({rank[4] for rank in environment["ranks"]}) == 2, "each on its own node"
    assert len(set(environment["nodes"])) == 2
    assert environment["node"] == environment["nodes"][0]


def test_outcome_names_a_rank_that_crashed_on_another_node(
    executor: RayExecutor, tmp_path: Path
) -> None:
    outcome = run_jobs(executor, two_node_job(tmp_path, "lose_the_last_rank"))[0]
    assert isinstance(outcome, Failed)
    assert (outcome.failure, "rank 1: killed by SIGKILL" in outcome.reason) == ("crash", True)


def test_trials_with_different_resources_share_an_actor(cluster: Cluster, tmp_path: Path) -> None:
    """The second job takes all cores of a node, so the actor itself holds none."""
    actors: set[int] = set()
    jobs = iter(make_job(tmp_path, n, resources=Resources(threads=1 + n % 2)) for n in range(4))
    outcomes: list[Outcome] = []

    def tell(job: Job, outcome: Outcome) -> None:
        outcomes.append(outcome)
        actors.update(process.pid for process in actor_processes(cluster, "RayTrial"))

    executor = RayExecutor(1, address=cluster.address, preload=())
    try:
        executor.run(lambda: next(jobs, None), evaluate, tell, never_stop)
    finally:
        executor.close()
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(outcomes) == 4
    assert len(actors) == 1


def test_devices_are_numbered_as_the_trial_sees_them(executor: RayExecutor, tmp_path: Path) -> None:
    """Both strategies specify ``cuda:1``; Ray assigns each a GPU and hides the others."""
    resources = Resources(devices=("cuda:1",))
    strategy = Strategy({"do": "see_gpus", "device": "cuda:1", "node_class": "any"})
    jobs = [make_job(tmp_path, n, strategy=strategy, resources=resources) for n in range(2)]
    one, two = (environment_of(outcome) for outcome in run_jobs(executor, *jobs).values())
    assert one["device"] == two["device"] == "cuda:0"
    assert {one["visible"], two["visible"]} <= {"0", "1"}
    assert (one["node"], one["visible"]) != (two["node"], two["visible"])


def test_each_node_builds_its_cache_once(executor: RayExecutor, tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, n, do="prepare") for n in range(8)]
    nodes = {environment_of(outcome)["node"] for outcome in run_jobs(executor, *jobs).values()}
    assert len(nodes) == 2
    assert len(list(tmp_path.glob("built-by-*"))) == 2


def test_all_ranks_run_again_after_a_lost_node(
    cluster: Cluster, executor: RayExecutor, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(run_jobs, executor, two_node_job(tmp_path, "hang_apart_the_first_time"))
        while not (tmp_path / "0" / "pid").exists():
            time.sleep(0.05)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        cluster.add_node(**NODE)
        environment = environment_of(run.result(180)[0])
    assert len(environment["ranks"]) == 2
