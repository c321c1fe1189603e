"""A driver to be killed: searches with worker processes that compute a formula.

Run it as ``python -c "from tests.search.doomed_driver import main; main(...)"``: workers cannot
import what a driver defines as ``__main__``.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from autotune.domain import (
    Budget,
    Choice,
    Dimension,
    ExecutorChoice,
    Job,
    Objective,
    Outcome,
    Range,
    SamplerChoice,
    Space,
    Study,
    Task,
)
from autotune.errors import UsageError
from autotune.execution.local import LocalExecutor
from autotune.levers import defaults
from autotune.ports import Executor, Report
from autotune.search.sampler import make_sampler
from autotune.search.tuner import Tuner
from autotune.store import SqlStore, open_for_driving, open_store
from tests.search.conftest import HOST, SilentObserver, completed, formula

NAME = "doomed"
PRELOAD = ("tests.search.conftest",)
TAKEOVER_SECONDS = 2.4


def evaluate(job: Job, report: Report) -> Outcome:
    """A trial of 20 to 80 ms that reports once."""
    time.sleep(random.Random(job.trial).uniform(0.02, 0.08))
    formula(job, report)
    return completed(job.strategy)


def study(trials: int) -> Study:
    dimensions = (
        Dimension("batch_size", Choice((8, 16, 32, 64))),
        Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
    )
    return Study(
        name=NAME,
        task=Task(),
        objectives=(Objective("train_samples_per_second", "maximize"),),
        space=Space(dimensions, {**defaults(HOST), "threads": 1}),
        budget=Budget(trials=trials),
        sampler=SamplerChoice("random", 3),
    )


def main(path: str, trials: int) -> None:
    """Drive with a SQLite file in the folder ``path``, the one driver at a time."""
    directory = Path(path)
    store = open_store(f"sqlite:///{directory}/doomed.db")
    executor = LocalExecutor(preload=PRELOAD, memory_gib=1.0)
    drive(store, executor, study(trials), directory, None)


def share(url: str, path: str, trials: int, address: str | None) -> None:
    """Drive beside other drivers with PostgreSQL, on the Ray cluster at ``address`` if given."""
    directory = Path(path)
    store = open_for_driving(url, directory / "journal")
    asked = replace(study(trials), executor=ExecutorChoice(takeover_seconds=TAKEOVER_SECONDS))
    drive(store, _executor(address), asked, directory, TAKEOVER_SECONDS)


def _executor(address: str | None) -> Executor:
    if address is None:
        return LocalExecutor(preload=PRELOAD, memory_gib=1.0)
    from autotune.execution.ray.executor import RayExecutor

    return RayExecutor(address=address, preload=PRELOAD, memory_gib=1.0)


def drive(
    store: SqlStore, executor: Executor, asked: Study, directory: Path, silence: float | None
) -> None:
    """What ``autotune search`` does, but for its talk."""
    if NAME not in store.studies():
        with suppress(UsageError):  # the other driver was faster
            store.create_study(asked, {})
    with store.acquire_driver(NAME):
        store.interrupt_running(NAME, stale_seconds=silence)
        tuner = Tuner(
            asked, store, make_sampler(asked), executor, HOST,
            directory=directory / "runs", observer=SilentObserver(),
            outage_seconds=60.0 if silence else 0.0,
        )  # fmt: skip
        tuner.run(evaluate)
    executor.close()
    store.close()
