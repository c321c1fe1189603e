"""A small Ray cluster for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

OBJECT_STORE = 80 * 2**20


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
