"""Cores and accelerators are never shared, and all come back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from contracts.executor_jobs import make_job

from autotune.domain import Resources
from autotune.execution.resources import ResourcePool


def test_cores_are_disjoint_until_none_is_left() -> None:
    seats = ResourcePool(range(4))
    three, one = Resources(threads=3), Resources(threads=1)
    assert seats.acquire(three) == (0, 1, 2)
    assert seats.acquire(Resources(threads=2)) is None
    assert seats.acquire(one) == (3,)
    assert seats.acquire(one) is None


def test_ranks_get_their_cores_together() -> None:
    assert ResourcePool(range(8)).acquire(Resources(processes=2, threads=3)) == (0, 1, 2, 3, 4, 5)


def test_one_job_per_gpu_and_any_number_on_the_cpu() -> None:
    seats = ResourcePool(range(4))
    assert seats.acquire(Resources(devices=("cuda:0", "cuda:1"))) is not None
    assert seats.acquire(Resources(devices=("cuda:1",))) is None
    assert seats.acquire(Resources(devices=("cpu",))) is not None
    assert seats.acquire(Resources(devices=("cpu",))) is not None


def test_a_finished_job_gives_back_what_it_took(tmp_path: Path) -> None:
    seats = ResourcePool(range(2))
    resources = Resources(threads=2, devices=("cuda:0",))
    cores = seats.acquire(resources)
    assert cores is not None
    seats.release(replace(make_job(tmp_path, resources=resources), cores=cores))
    assert seats.acquire(resources) == cores
