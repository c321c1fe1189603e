"""The contract of all executors, run on a small Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contracts.executor_contract import ExecutorContract

from autotune.execution.ray.executor import RayExecutor
from tests.execution.ray_clusters import small_ray

__all__ = ["small_ray"]


class SharedExecutor:
    """One executor for all tests that leave it usable: its agents take a second to start."""

    def __init__(self) -> None:
        self._executor: RayExecutor | None = None

    def get(self) -> RayExecutor:
        if self._executor is None or self._executor.closed:
            self._executor = RayExecutor(1, preload=())
        return self._executor

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()


@pytest.fixture(scope="module")
def shared(small_ray: None) -> Iterator[SharedExecutor]:
    shared = SharedExecutor()
    yield shared
    shared.close()


class TestRayExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self, shared: SharedExecutor) -> RayExecutor:
        return shared.get()

    @pytest.fixture
    def pair(self, shared: SharedExecutor) -> Iterator[RayExecutor]:
        executor = RayExecutor(2, preload=())
        yield executor
        executor.close()
