"""The resource pool: cores and accelerators are never shared, and are freed after the job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from contracts.executor_jobs import make_job

from autotune.domain import Resources
from autotune.execution.resources import ResourcePool


def test_cores_of_jobs_are_disjoint() -> None:
    pool = ResourcePool(range(4))
    three, one = Resources(threads=3), Resources(threads=1)
    assert pool.acquire(three) == (0, 1, 2)
    assert pool.acquire(Resources(threads=2)) is None
    assert pool.acquire(one) == (3,)
    assert pool.acquire(one) is None


def test_all_ranks_get_cores() -> None:
    assert ResourcePool(range(8)).acquire(Resources(processes=2, threads=3)) == (0, 1, 2, 3, 4, 5)


def test_gpus_are_exclusive_and_the_cpu_is_not() -> None:
    pool = ResourcePool(range(4))
    assert pool.acquire(Resources(devices=("cuda:0", "cuda:1"))) is not None
    assert pool.acquire(Resources(devices=("cuda:1",))) is None
    assert pool.acquire(Resources(devices=("cpu",))) is not None
    assert pool.acquire(Resources(devices=("cpu",))) is not None


def test_released_resources_are_free_again(tmp_path: Path) -> None:
    pool = ResourcePool(range(2))
    resources = Resources(threads=2, devices=("cuda:0",))
    cores = pool.acquire(resources)
    assert cores is not None
    pool.release(replace(make_job(tmp_path, resources=resources), cores=cores))
    assert pool.acquire(resources) == cores
