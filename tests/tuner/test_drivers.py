"""Several drivers of one study, over a real PostgreSQL, with dead drivers and outages."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import Budget, ExecutorConfig, Job, Outcome, State, Study, Trial
from autotune.errors import StoreUnavailableError
from autotune.ports import Sampler
from autotune.store import BufferedStore, SqlStore, open_driver_store, open_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import Tuner, make_tuner
from tests.store.postgres_server import PostgresServer
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver, completed, formula

FAST_TAKEOVER = ExecutorConfig(takeover_seconds=2.4)
"""For tests of takeovers alone: on a busy machine it can mistake a slow driver for a dead one."""


@pytest.fixture
def study(study: Study) -> Study:
    return replace(study, budget=Budget(trials=12))


class Drivers:
    """Drivers of one study, each with a connection of its own."""

    def __init__(self, url: str, study: Study, directory: Path) -> None:
        self.study, self._url, self._directory = study, url, directory
        self.store = open_store(url)
        self.store.create_study(study, {})
        self._opened: list[SqlStore] = [self.store]

    def tuner(self, sampler: Sampler | None = None, **options: Any) -> Tuner:
        store = open_driver_store(self._url, self._directory / "journal")
        self._opened.append(store)
        return make_tuner(
            self.study, store, sampler or make_sampler(self.study), InlineExecutor(), HOST,
            directory=self._directory, observer=RecordingObserver(), **options,
        )  # fmt: skip

    def trials(self) -> list[Trial]:
        return list(self.store.trials(self.study.name))

    def close(self) -> None:
        for store in self._opened:
            store.close()


@pytest.fixture
def drivers(postgres_url: str, study: Study, tmp_path: Path) -> Iterator[Drivers]:
    opened = Drivers(postgres_url, study, tmp_path)
    yield opened
    opened.close()


def slow_formula(job: Job, report: Any) -> Outcome:
    time.sleep(0.02)
    return formula(job, report)


def is_each_strategy_unique(trials: list[Trial]) -> bool:
    done = Counter((t.strategy.key, t.seed) for t in trials if t.state is not State.INTERRUPTED)
    return max(done.values()) == 1


def test_drivers_share_a_budget_and_repeat_no_strategy(drivers: Drivers) -> None:
    tuners = [drivers.tuner() for _ in range(4)]
    with ThreadPoolExecutor(len(tuners)) as pool:
        reasons = list(pool.map(lambda tuner: tuner.run(slow_formula), tuners))
    trials = drivers.trials()
    assert [t.number for t in trials] == list(range(12)), "not one more than the budget"
    assert all(t.state is State.COMPLETE for t in trials)
    assert is_each_strategy_unique(trials)
    assert [t.origin for t in trials].count("baseline") == 1
    assert all("12 trials" in reason for reason in reasons)


def test_the_sampler_gets_the_trials_of_other_drivers(drivers: Drivers) -> None:
    histories: list[list[State]] = []

    class RecordingSampler:
        def ask(self, history: Any) -> Any:
            histories.append([trial.state for trial in history])
            return make_sampler(drivers.study).ask(history)

    one, other = drivers.tuner(), drivers.tuner(RecordingSampler())
    for tuner in (one, one, other):
        job = tuner.ask()
        assert job is not None
        if tuner is one:
            tuner.tell(job, completed(job.strategy))
    assert histories == [[State.COMPLETE, State.COMPLETE]]


def test_trials_of_a_dead_driver_are_taken_over(drivers: Drivers) -> None:
    drivers.study = replace(drivers.study, executor=FAST_TAKEOVER)
    dead = drivers.tuner()
    dead.enqueue_initial()
    abandoned = [dead.ask(), dead.ask()]
    assert all(abandoned)
    drivers.tuner().run(slow_formula)
    trials = drivers.trials()
    assert [t.state for t in trials[:2]] == [State.INTERRUPTED] * 2
    assert [t.state for t in trials].count(State.COMPLETE) == 12
    keys = {t.strategy.key for t in trials if t.state is State.COMPLETE}
    assert {job.strategy.key for job in abandoned if job} <= keys
    assert is_each_strategy_unique(trials)


def test_trials_of_a_live_driver_are_not_taken_over(drivers: Drivers) -> None:
    """Its only trial takes longer than the time after which a driver without heartbeat is dead."""
    started = threading.Event()

    def long(job: Job, report: Any) -> Outcome:
        started.set()
        time.sleep(1.5 * FAST_TAKEOVER.takeover_seconds)
        return completed(job.strategy)

    drivers.study = replace(drivers.study, executor=FAST_TAKEOVER, budget=Budget(trials=1))
    slow, idle = drivers.tuner(), drivers.tuner()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow.run, long)
        assert started.wait(90)
        second = pool.submit(idle.run, long)
        assert "1 trials" in first.result(120)
        assert "1 trials" in second.result(120)
    assert [t.state for t in drivers.trials()] == [State.COMPLETE]


def test_a_driver_that_was_taken_over_can_still_store_its_result(drivers: Drivers) -> None:
    late, other = drivers.tuner(), drivers.tuner()
    job = late.ask()
    assert job is not None
    other.sources.queue.retry(other.store.interrupt_running("small", stale_seconds=0))
    assert [t.state for t in drivers.trials()] == [State.INTERRUPTED, State.QUEUED]
    late.tell(job, completed(job.strategy))
    assert [t.state for t in drivers.trials()] == [State.COMPLETE, State.INTERRUPTED]


# ------------------------------------------------------------------------- without the database


@pytest.fixture
def stoppable(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that runs again for the next test, whatever happens in this one."""
    yield postgres_server
    if not postgres_server.running:
        postgres_server.start()


def outage(server: PostgresServer, after: threading.Event, seconds: float) -> None:
    assert after.wait(60)
    server.stop()
    time.sleep(seconds)
    server.start()


def test_a_search_survives_an_outage(drivers: Drivers, stoppable: PostgresServer) -> None:
    third_trial, evaluated = threading.Event(), []

    def evaluate(job: Job, report: Any) -> Outcome:
        if job.trial == 3:
            third_trial.set()
            while stoppable.running:
                time.sleep(0.02)
        evaluated.append(job.trial)
        return formula(job, report)

    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(outage, stoppable, third_trial, 3.0)
        drivers.tuner(outage_seconds=240).run(evaluate)
        stopped.result()
    trials = drivers.trials()
    assert sorted(evaluated) == list(range(12)), "each was run once"
    assert [t.state for t in trials] == [State.COMPLETE] * 12
    assert trials[3].metrics == {
        name: m.value for name, m in completed(trials[3].strategy).result.measurements.items()
    }


def test_results_of_a_driver_that_died_in_an_outage_are_stored(
    drivers: Drivers, stoppable: PostgresServer, tmp_path: Path
) -> None:
    tuner = drivers.tuner()
    job = tuner.ask()
    assert job is not None
    stoppable.stop()
    tuner.tell(job, completed(job.strategy))
    assert isinstance(tuner.store, BufferedStore)
    tuner.store._journal.release()  # as the kernel does when the process ends
    stoppable.start()
    drivers.tuner()
    assert [t.state for t in drivers.trials()] == [State.COMPLETE]
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_long_outage_ends_the_search(drivers: Drivers, stoppable: PostgresServer) -> None:
    tuner = drivers.tuner(outage_seconds=0.5)

    def evaluate(job: Job, report: Any) -> Outcome:
        stoppable.stop()
        return formula(job, report)

    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1"):
        tuner.run(evaluate)
    tuner.store.close()
    stoppable.start()
    drivers.tuner()
    assert drivers.trials()[0].state is State.COMPLETE, "the result waited in the journal"
