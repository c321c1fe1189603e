"""A driver that tests kill: it searches with worker processes that compute a formula.

Drivers are forked from a server that has imported this module, so that they start to search at
once.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from autotune.domain import (
    Budget,
    Categorical,
    Dimension,
    ExecutorConfig,
    Objective,
    Range,
    SamplerConfig,
    SearchSpace,
    Study,
    Task,
)
from autotune.errors import AutotuneError, UsageError
from autotune.execution.local import LocalExecutor
from autotune.execution.ranks import RANK_MODULES
from autotune.levers import defaults
from autotune.ports import Evaluate, Executor
from autotune.store import SqlStore, open_driver_store, open_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.tuner.short_trials import evaluate, evaluate_hungrily
from tests.tuner.small_study import HOST, RecordingObserver

NAME = "doomed"
PRELOAD = ("tests.tuner.short_trials",)
TAKEOVER_SECONDS = 6.0
"""Short, and yet longer than a busy machine suspends a live driver."""


def start(drive: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Run :func:`drive` or :func:`share` in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    driver = context.Process(target=drive, args=arguments)
    # A child would run the main module again, which may be a page of another test.
    with patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
        driver.start()
    return driver


def study(trials: int, **levers: Any) -> Study:
    """A study of two dimensions, with other defaults than usual for ``levers``."""
    dimensions = (
        Dimension("batch_size", Categorical((8, 16, 32, 64))),
        Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
    )
    return Study(
        name=NAME,
        task=Task(),
        objectives=(Objective("train_samples_per_second", "maximize"),),
        space=SearchSpace(dimensions, {**defaults(HOST), "threads": 1, **levers}),
        budget=Budget(trials=trials),
        sampler=SamplerConfig("random", 3),
    )


def drive(
    path: str, trials: int, message: str, levers: Mapping[str, Any], hungry: bool = False
) -> None:
    """Search with a SQLite file in the folder ``path``, as the only driver, with defaults of
    ``levers``. An error and what to do about it are written to the file ``message``. The workers of
    parallel trials need torch."""
    directory = Path(path)
    preload = (*PRELOAD, *RANK_MODULES) if "parallelism" in levers else PRELOAD
    try:
        store = open_store(f"sqlite:///{directory}/doomed.db")
        executor = LocalExecutor(preload=preload, memory_gib=1.0)
        function = evaluate_hungrily if hungry else evaluate
        search(store, executor, study(trials, **levers), directory, None, function)
    except AutotuneError as error:
        Path(message).write_text(f"{error.message} ({error.hint})")
        sys.exit(1)


def share(url: str, path: str, trials: int, address: str | None) -> None:
    """Search concurrently with other drivers, on the Ray cluster at ``address`` if given."""
    directory = Path(path)
    store = open_driver_store(url, directory / "journal")
    shared_study = replace(
        study(trials), executor=ExecutorConfig(takeover_seconds=TAKEOVER_SECONDS)
    )
    search(store, _executor(address), shared_study, directory, TAKEOVER_SECONDS)


def _executor(address: str | None) -> Executor:
    if address is None:
        return LocalExecutor(preload=PRELOAD, memory_gib=1.0)
    from autotune.execution.ray.executor import RayExecutor

    return RayExecutor(address=address, preload=PRELOAD, memory_gib=1.0)


def search(
    store: SqlStore, executor: Executor, study: Study, directory: Path,
    stale_after: float | None, function: Evaluate = evaluate,
) -> None:  # fmt: skip
    """What ``autotune search`` does, without model and data."""
    if NAME not in store.studies():
        with suppress(UsageError):  # the other driver was faster
            store.create_study(study, {})
    with store.acquire_driver(NAME):
        store.interrupt_running(NAME, stale_seconds=stale_after)
        tuner = make_tuner(
            study, store, make_sampler(study), executor, HOST,
            directory=directory / "runs", observer=RecordingObserver(),
            outage_seconds=240.0 if stale_after else 0.0,
        )  # fmt: skip
        tuner.run(function)
    executor.close()
    store.close()
