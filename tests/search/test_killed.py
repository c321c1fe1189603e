"""Whatever the moment at which a driver is killed: nothing finished is lost, nothing is doubled."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from autotune.domain import State, Trial
from autotune.errors import NotFoundError
from autotune.store import open_store
from tests.search.doomed_driver import NAME

ROOT = Path(__file__).parents[2]
KILLS = 20
TRIALS = 60


def start(directory: Path) -> subprocess.Popen[bytes]:
    code = f"from tests.search.doomed_driver import main; main({str(directory)!r}, {TRIALS})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


def stored(directory: Path) -> list[Trial]:
    if not (directory / "doomed.db").exists():
        return []
    store = open_store(f"sqlite:///{directory}/doomed.db")
    try:
        return [store.trial(NAME, t.number) for t in store.trials(NAME)]
    except NotFoundError:
        return []
    finally:
        store.close()


def finished(trials: list[Trial]) -> dict[int, Trial]:
    return {t.number: t for t in trials if t.state is State.COMPLETE}


def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    rng = random.Random(11)
    before: dict[int, Trial] = {}
    for _ in range(KILLS):
        driver = start(tmp_path)
        grown = len(before) + rng.randint(1, 2)
        deadline = time.monotonic() + 60
        while len(finished(stored(tmp_path))) < grown and driver.poll() is None:
            assert time.monotonic() < deadline, "the driver makes no progress"
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 0.1))
        driver.kill()
        driver.wait()
        after = finished(stored(tmp_path))
        assert {n: after[n] for n in before} == before, "a finished trial was lost or changed"
        before = after

    assert start(tmp_path).wait(timeout=120) == 0
    trials = stored(tmp_path)
    assert [t.number for t in trials] == list(range(len(trials)))
    assert {n: finished(trials)[n] for n in before} == before
    complete = Counter(t.strategy.key for t in trials if t.state is State.COMPLETE)
    assert sum(complete.values()) == TRIALS
    assert max(complete.values()) == 1, "no strategy is measured twice"
    interrupted = [t for t in trials if t.state is State.INTERRUPTED]
    assert interrupted, "some kill hit a running trial"
    assert all(t.strategy.key in complete for t in interrupted), "each was run again"
