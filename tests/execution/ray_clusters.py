"""A small Ray cluster for the tests of one module, and the actors of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

OBJECT_STORE = 80 * 2**20


def actor_processes(cluster: Cluster, name: str) -> Iterator[psutil.Process]:
    """The processes of the actors of class ``name``, on the nodes of this cluster alone."""
    for node in cluster.list_all_nodes():
        for raylet in node.all_processes.get("raylet", ()):
            with suppress(psutil.NoSuchProcess):
                yield from _children(psutil.Process(raylet.process.pid), f"ray::{name}")


def _children(parent: psutil.Process, title: str) -> Iterator[psutil.Process]:
    for process in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(title in word for word in process.cmdline()):
                yield process


def kill_actors(cluster: Cluster, name: str) -> None:
    """Kill the actors of class ``name`` on the nodes of this cluster with SIGKILL."""
    for process in actor_processes(cluster, name):
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="module")
def small_ray() -> Iterator[None]:
    """One node with two CPUs and one GPU, which no job of the contract uses."""
    ray.init(
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()
