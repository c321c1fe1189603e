"""Changes since a cursor, curves, overviews, and several concurrent drivers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from autotune.domain import CurvePoint, State, Task, TrialOrigin
from autotune.errors import IncompatibleStudyError, UsageError
from autotune.store import SqlStore, open_store
from autotune.store.models import TrialRow
from tests.store.samples import ENVIRONMENT, completed, strategy, study

REPOSITORY = Path(__file__).parents[2]
POINT = CurvePoint(1, 20, 8, 0.5, loss=2.0)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    store = open_store(url)
    store.create_study(study("bert"), ENVIRONMENT)
    yield store
    store.close()


def start(store: SqlStore, index: int = 0) -> int:
    return store.start("bert", strategy(index), origin=TrialOrigin.SAMPLED, seed=0).number


# ---------------------------------------------------------------------------- following along


def test_trials_since_gives_each_change_once(store: SqlStore) -> None:
    start(store, 0)
    start(store, 1)
    trials, cursor = store.trials_since("bert")
    assert [trial.number for trial in trials] == [0, 1]
    assert store.trials_since("bert", cursor) == ([], cursor)
    store.finish("bert", 0, completed())
    store.enqueue("bert", strategy(2), origin=TrialOrigin.RETRY, seed=0)
    changed, later = store.trials_since("bert", cursor)
    assert [(t.number, t.state) for t in changed] == [(0, State.COMPLETE), (2, State.QUEUED)]
    assert changed[0].metrics == store.trial("bert", 0).metrics
    assert later > cursor


def test_revisions_are_per_study(store: SqlStore) -> None:
    store.create_study(study("other"), {})
    start(store)
    _, cursor = store.trials_since("bert")
    store.start("other", strategy(), origin=TrialOrigin.SAMPLED, seed=0)
    assert store.trials_since("bert", cursor)[0] == []


def test_curves_and_progress(store: SqlStore) -> None:
    for index in range(3):
        start(store, index)
    later = replace(POINT, step=2)
    for number, point in ((0, POINT), (1, POINT), (0, later)):
        store.report("bert", number, point)
    assert store.progress("bert") == {0: later, 1: POINT}
    store.finish("bert", 1, completed())
    assert store.progress("bert") == {0: later}
    assert store.curves("bert") == {0: [POINT, later], 1: list(completed().result.curve)}


def test_overview_counts_by_state(store: SqlStore) -> None:
    store.create_study(study("empty"), {})
    for index in range(3):
        start(store, index)
    store.enqueue("bert", strategy(3), origin=TrialOrigin.SAMPLED, seed=0)
    store.finish("bert", 1, completed())
    bert, empty = store.studies_overview()
    assert bert.study == study("bert")
    assert bert.counts == {State.RUNNING: 2, State.QUEUED: 1, State.COMPLETE: 1}
    assert bert.finished_trials == 1
    assert bert.started_at == store.trial("bert", 0).started_at
    assert bert.changed_at == store.trial("bert", 1).finished_at
    assert bert.revision == store.trials_since("bert")[1]
    assert bert.heartbeat_at is not None
    assert (empty.counts, empty.started_at, empty.heartbeat_at) == ({}, None, None)


def test_environments_of_all_sessions(store: SqlStore) -> None:
    store.record_environment("bert", {"session": 2})
    assert store.environments("bert") == [ENVIRONMENT, {"session": 2}]
    assert store.environment("bert") == {"session": 2}


def test_study_with_another_task_is_refused(store: SqlStore) -> None:
    with pytest.raises(IncompatibleStudyError, match="different task"):
        store.update_study(replace(study("bert"), task=Task(model="other")))
    assert store.study("bert") == study("bert")


# ---------------------------------------------------------------------------- several drivers


def test_numbers_are_unique_over_drivers(store: SqlStore, url: str) -> None:
    drivers = [store, *(SqlStore(url) for _ in range(3))]

    def work(driver: SqlStore) -> list[int]:
        return [start(driver, index) for index in range(8)]

    with ThreadPoolExecutor(len(drivers)) as pool:
        numbers = [number for batch in pool.map(work, drivers) for number in batch]
    assert sorted(numbers) == list(range(32))
    assert [trial.number for trial in store.trials("bert")] == list(range(32))
    for driver in drivers[1:]:
        driver.close()


def test_no_queued_trial_is_claimed_twice(store: SqlStore, url: str) -> None:
    for index in range(12):
        store.enqueue("bert", strategy(index), origin=TrialOrigin.RETRY, seed=0)
    drivers = [store, *(SqlStore(url) for _ in range(2))]

    def work(driver: SqlStore) -> list[int]:
        return [trial.number for trial in iter(lambda: driver.claim_next_queued("bert"), None)]

    with ThreadPoolExecutor(len(drivers)) as pool:
        claimed = list(pool.map(work, drivers))
    assert sorted(number for numbers in claimed for number in numbers) == list(range(12))
    assert store.claim_next_queued("bert") is None
    for driver in drivers[1:]:
        driver.close()


def test_claim_without_queued_trials_changes_nothing(store: SqlStore) -> None:
    before = store.studies_overview()
    assert store.claim_next_queued("bert") is None
    assert store.interrupt_running("bert") == []
    assert store.studies_overview() == before


def test_study_is_created_once(url: str) -> None:
    open_store(url).close()
    stores = [SqlStore(url) for _ in range(4)]

    def create(store: SqlStore) -> bool:
        try:
            store.create_study(study("same"), {})
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(len(stores)) as pool:
        assert sorted(pool.map(create, stores)) == [False, False, False, True]
    for store in stores:
        store.close()


def test_database_is_created_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for store in pool.map(open_store, [url] * 4):
            assert store.studies() == []
            store.close()


def test_interrupt_running_of_all_drivers(store: SqlStore) -> None:
    for index in range(3):
        start(store, index)
    store.report("bert", 2, POINT)
    store.finish("bert", 1, completed())
    taken = store.interrupt_running("bert")
    assert [(t.number, t.state) for t in taken] == [(0, "interrupted"), (2, "interrupted")]
    assert store.trial("bert", 2).result.curve == (POINT,)
    assert store.trial("bert", 0).reason == "its driver went away"
    assert store.trial("bert", 1).state == State.COMPLETE


def test_interrupt_running_of_one_driver(store: SqlStore, url: str) -> None:
    other = SqlStore(url)
    start(store)
    start(other, 1)
    taken = store.interrupt_running("bert", driver=other.driver)
    assert [trial.number for trial in taken] == [1]
    other.close()


def age(store: SqlStore, number: int, seconds: float) -> None:
    """Set the last heartbeat of a trial to the past."""
    where = TrialRow.number == number
    with store._database.transaction(write=True) as connection:
        beat = connection.scalar(select(TrialRow.heartbeat_at).where(where))
        assert beat is not None
        earlier = beat - timedelta(seconds=seconds)
        connection.execute(update(TrialRow).where(where).values(heartbeat_at=earlier))


def test_interrupt_running_skips_trials_with_a_heartbeat(store: SqlStore, url: str) -> None:
    other = SqlStore(url)
    mine, theirs, reported = start(store, 0), start(other, 1), start(other, 2)
    for number in (mine, theirs, reported):
        age(store, number, 3600)
    store.heartbeat("bert")
    other.report("bert", reported, POINT)
    taken = store.interrupt_running("bert", stale_seconds=600)
    assert [trial.number for trial in taken] == [theirs]
    other.close()


HOLDER = """
import sys, time
from autotune.store import open_store
with open_store(sys.argv[1]).acquire_driver("bert") as driver:
    print(driver, flush=True)
    sys.stdin.read()
"""


def test_sqlite_has_one_driver_until_it_is_killed(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    command = [sys.executable, "-c", HOLDER, sqlite_url]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        with pytest.raises(UsageError, match=name) as caught, store.acquire_driver("bert"):
            pass
        assert "PostgreSQL" in str(caught.value.hint)
        with store.acquire_driver("other/../study"):
            pass
        process.kill()
    with store.acquire_driver("bert") as driver:
        assert driver == store.driver
    with store.acquire_driver("bert"):
        pass
    store.close()


def test_postgresql_has_several_drivers(postgres_url: str) -> None:
    store = open_store(postgres_url)
    with (
        store.acquire_driver("bert") as first,
        SqlStore(postgres_url).acquire_driver("bert") as two,
    ):
        assert first != two
    store.close()
