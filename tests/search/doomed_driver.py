"""A driver to be killed: searches with worker processes that compute a formula.

Run it as ``python -c "from tests.search.doomed_driver import main; main(...)"``: workers cannot
import what a driver defines as ``__main__``.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from autotune.domain import (
    Budget,
    Choice,
    Dimension,
    Job,
    Objective,
    Outcome,
    Range,
    SamplerChoice,
    Space,
    Study,
    Task,
)
from autotune.execution.local import LocalExecutor
from autotune.levers import defaults
from autotune.ports import Report
from autotune.search.sampler import make_sampler
from autotune.search.tuner import Tuner
from autotune.store import open_store
from tests.search.conftest import HOST, SilentObserver, completed, formula

NAME = "doomed"
PRELOAD = ("tests.search.conftest",)


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
    directory = Path(path)
    asked = study(trials)
    store = open_store(f"sqlite:///{directory}/doomed.db")
    if NAME not in store.studies():
        store.create_study(asked, {})
    executor = LocalExecutor(preload=PRELOAD, memory_gib=1.0)
    with store.acquire_driver(NAME):
        store.interrupt_running(NAME)
        tuner = Tuner(
            asked, store, make_sampler(asked), executor, HOST,
            directory=directory / "runs", observer=SilentObserver(),
        )  # fmt: skip
        tuner.run(evaluate)
    executor.close()
    store.close()
