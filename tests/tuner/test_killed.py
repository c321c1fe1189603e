"""A driver is killed at random moments: no finished trial is lost, and no strategy runs twice."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autotune.domain import State, Trial
from autotune.errors import NotFoundError
from autotune.store import SqlStore, open_store
from tests.tuner.doomed_driver import NAME, main, start

KILLS = 20
TRIALS = 60


@contextmanager
def opened(directory: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{directory}/doomed.db")
    yield store
    store.close()


def stored(directory: Path) -> list[Trial]:
    with opened(directory) as store:
        return [store.trial(NAME, t.number) for t in store.trials(NAME)]


def finished(trials: list[Trial]) -> dict[int, Trial]:
    return {t.number: t for t in trials if t.state is State.COMPLETE}


def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    """Some kills hit a driver that is starting."""
    rng = random.Random(11)
    before: dict[int, Trial] = {}
    for kill in range(KILLS):
        driver = start(main, str(tmp_path), TRIALS)
        grown = len(before) + (rng.randint(0, 2) if kill else 1)
        deadline = time.monotonic() + 60
        while _complete(tmp_path) < grown and driver.is_alive():
            assert time.monotonic() < deadline, "the driver makes no progress"
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.2))
        driver.kill()
        driver.join()
        after = finished(stored(tmp_path))
        assert {n: after[n] for n in before} == before, "a finished trial was lost or changed"
        before = after

    last = start(main, str(tmp_path), TRIALS)
    last.join(120)
    assert last.exitcode == 0
    trials = stored(tmp_path)
    assert [t.number for t in trials] == list(range(len(trials)))
    assert {n: finished(trials)[n] for n in before} == before
    complete = Counter(t.strategy.key for t in trials if t.state is State.COMPLETE)
    assert sum(complete.values()) == TRIALS
    assert max(complete.values()) == 1, "no strategy is measured twice"
    interrupted = [t for t in trials if t.state is State.INTERRUPTED]
    assert interrupted, "some kill hit a running trial"
    assert all(t.strategy.key in complete for t in interrupted), "each was run again"


def _complete(directory: Path) -> int:
    if not (directory / "doomed.db").exists():
        return 0
    with opened(directory) as store, suppress(NotFoundError):
        return len(store.trials(NAME, states=[State.COMPLETE]))
    return 0
