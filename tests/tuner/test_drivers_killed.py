"""Driver processes on one study in PostgreSQL are killed: one of two, and one on a Ray cluster.
Finished trials stay unchanged, and no strategy is measured twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from autotune.domain import State, Trial, TrialOrigin
from autotune.errors import NotFoundError
from autotune.store import open_store
from tests.store.postgres_server import PostgresServer
from tests.tuner import doomed_driver
from tests.tuner.doomed_driver import NAME, share

TRIALS = 12
OUTAGE_SECONDS = 8.0
"""Longer than after which another driver would take over."""

Driver = ForkServerProcess


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Ray cluster that outlives the drivers."""
    node = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def start(postgres_url: str, tmp_path: Path) -> Iterator[Callable[[str | None], Driver]]:
    """Starts drivers of one study, on the cluster of an address if given."""
    started: list[Driver] = []

    def one(address: str | None) -> Driver:
        driver = doomed_driver.start(share, postgres_url, str(tmp_path), TRIALS, address)
        started.append(driver)
        return started[-1]

    yield one
    for driver in started:
        driver.kill()
        driver.join()


def finished(url: str) -> dict[int, Trial]:
    """The complete trials by number, with their full results."""
    store = open_store(url)
    try:
        listed = store.trials(NAME, states=[State.COMPLETE])
        return {trial.number: store.trial(NAME, trial.number) for trial in listed}
    except NotFoundError:
        return {}
    finally:
        store.close()


def wait_for(url: str, count: int, *drivers: Driver) -> dict[int, Trial]:
    deadline = time.monotonic() + 240
    while len(complete := finished(url)) < count and any(d.is_alive() for d in drivers):
        assert time.monotonic() < deadline, "the drivers make no progress"
        time.sleep(0.1)
    return complete


def wait_for_exit(driver: Driver) -> int | None:
    driver.join(240)
    return driver.exitcode


def assert_consistent(url: str, before: dict[int, Trial]) -> None:
    after = finished(url)
    assert {number: after[number] for number in before} == before, "a finished trial has changed"
    # Trials that ran beside the other driver are measured again when the host is idle.
    first_runs = [t for t in after.values() if t.origin is not TrialOrigin.ISOLATED_RERUN]
    done = Counter(trial.strategy.key for trial in first_runs)
    assert sum(done.values()) == TRIALS
    assert max(done.values()) == 1, "a strategy was measured twice"


def test_one_of_two_drivers_is_killed(
    start: Callable[[str | None], Driver], postgres_url: str
) -> None:
    one, other = start(None), start(None)
    before = wait_for(postgres_url, 4, one, other)
    one.kill()
    assert wait_for_exit(other) == 0
    assert_consistent(postgres_url, before)


def test_a_search_on_ray_survives_its_driver_and_an_outage_of_its_database(
    start: Callable[[str | None], Driver],
    postgres_server: PostgresServer,
    postgres_url: str,
    cluster: Cluster,
) -> None:
    """A driver is killed, and its cluster lives on. The next driver waits for the database, and
    ends the search."""
    first = start(cluster.address)
    before = wait_for(postgres_url, 3, first)
    first.kill()
    first.join()
    before |= finished(postgres_url)
    second = start(cluster.address)
    before |= wait_for(postgres_url, len(before) + 1, second)
    postgres_server.stop()
    try:
        time.sleep(OUTAGE_SECONDS)
        assert second.is_alive(), "the driver waits"
    finally:
        postgres_server.start()
    assert wait_for_exit(second) == 0
    assert_consistent(postgres_url, before)
