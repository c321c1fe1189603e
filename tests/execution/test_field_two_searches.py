"""Two searches on one host take other cores and GPUs, or wait, and are marked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.executor_contract import run_job, run_jobs
from contracts.executor_jobs import make_job

from autotune.domain import CONCURRENT_TRIALS, Completed, Resources
from autotune.execution.local import LocalExecutor
from autotune.execution.resources import HostLocks, ResourcePool, is_locked, lock_cores

LIGHT = ("autotune.execution.worker",)
ONE = Resources(threads=1)


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_LOCKS", str(tmp_path / "locks"))


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    local = LocalExecutor(preload=LIGHT)
    yield local
    local.close()


def test_field_two_pools_take_other_cores() -> None:
    one, two = ResourcePool(range(2)), ResourcePool(range(2))
    assert one.acquire(ONE) == (0,)
    assert two.acquire(ONE) == (1,)
    assert one.acquire(ONE) is None and one.is_waiting
    assert one.are_others_running() and two.are_others_running()


def test_field_two_pools_never_share_a_gpu(tmp_path: Path) -> None:
    one, two = ResourcePool(range(4)), ResourcePool(range(4))
    on_gpu = Resources(threads=1, devices=("cuda:0",))
    cores = one.acquire(on_gpu)
    assert cores is not None
    assert is_locked("cuda:0") and not is_locked("cuda:1")
    assert two.acquire(on_gpu) is None and two.is_waiting
    one.release(replace(make_job(tmp_path, resources=on_gpu), cores=cores))
    assert two.acquire(on_gpu) is not None


def test_field_a_gpu_is_the_same_under_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    locks = HostLocks()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert locks.take((0,), 1, {"cuda:1"}) == (0,)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert is_locked("cuda:0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert is_locked("cuda:1") and not is_locked("cuda:0")


def test_field_a_search_that_waits_is_served_next(tmp_path: Path) -> None:
    one, two = ResourcePool(range(2)), ResourcePool(range(2))
    both = Resources(threads=2)
    job = replace(make_job(tmp_path, resources=both), cores=(0, 1))
    assert one.acquire(both) == (0, 1)
    assert not two.has_free_core()
    one.release(job)
    assert one.acquire(both) is None, "the other search is the next"
    assert two.acquire(both) == (0, 1)
    two.release(job)
    one.stop_waiting()
    assert two.acquire(both) == (0, 1)


def test_field_local_searches_and_those_on_ray_respect_each_other() -> None:
    pool = ResourcePool(range(2))
    assert pool.acquire(ONE) == (0,)
    assert lock_cores(range(2), 2) == ()


def test_field_without_a_folder_for_locks_all_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOTUNE_LOCKS", str(tmp_path / "file"))
    pool = ResourcePool(range(2))
    assert pool.acquire(Resources(threads=2)) == (0, 1)
    assert not is_locked("cuda:0") and not pool.are_others_running()


def test_field_physical_cores_are_taken_first() -> None:
    pool = ResourcePool((0, 2, 1, 3))
    assert pool.acquire(Resources(threads=2)) == (0, 2)


def test_field_a_search_waits_for_the_cores_of_another(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    other = ResourcePool(executor._pool._cores)
    everything = Resources(threads=len(executor._pool._cores))
    cores = other.acquire(everything)
    assert cores is not None
    job = replace(make_job(tmp_path, resources=everything), cores=cores)
    asked = threading.Event()
    timer = threading.Timer(1.0, lambda: (asked.set(), other.release(job)))
    timer.start()
    ((_, outcome),) = run_jobs(executor, [make_job(tmp_path / "waiting", resources=everything)])
    assert asked.is_set(), "it did not run before the other ended"
    assert isinstance(outcome, Completed)
    assert CONCURRENT_TRIALS not in outcome.result.environment


def test_field_a_search_that_waits_can_be_stopped(executor: LocalExecutor, tmp_path: Path) -> None:
    other = ResourcePool(executor._pool._cores)
    assert other.acquire(Resources(threads=len(executor._pool._cores))) is not None
    threading.Timer(0.5, executor.stop).start()
    assert run_jobs(executor, [make_job(tmp_path)]) == []


def test_field_a_trial_beside_another_search_is_marked(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    if len(executor._pool._cores) < 2:
        pytest.skip("needs two cores")
    other = ResourcePool(executor._pool._cores)
    assert other.acquire(ONE) is not None
    outcome = run_job(executor, make_job(tmp_path, resources=ONE))
    assert outcome.result.environment[CONCURRENT_TRIALS] == 1
