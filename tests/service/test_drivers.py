"""Drivers that die or are stopped: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.domain import State, TrialOrigin
from autotune.errors import StoreUnavailableError, UsageError
from autotune.service import driver
from autotune.service.config import ServiceConfig
from autotune.service.dispatcher import Dispatcher, driver_environment
from autotune.service.files import UserFolder
from autotune.store import open_store
from autotune.store.queue import SubmissionQueue
from autotune.store.submissions import SubmissionState
from tests.service.conftest import STUDY, make_config, write_landscape

WAIT_SECONDS = 240.0


@pytest.fixture
def config(tmp_path: Path) -> ServiceConfig:
    config = make_config(tmp_path, workers=1)
    open_store(config.storage).close()
    write_landscape(UserFolder.of_user(config.folder, "me").path)
    return config


@contextmanager
def dispatching(config: ServiceConfig) -> Iterator[tuple[Dispatcher, SubmissionQueue]]:
    with closing(SubmissionQueue(config.storage)) as queue:
        dispatcher = Dispatcher(config, queue)
        dispatcher.start()
        try:
            yield dispatcher, queue
        finally:
            dispatcher.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_a_killed_driver_and_a_restarted_service_lose_nothing(config: ServiceConfig) -> None:
    with dispatching(config) as (dispatcher, queue):
        queue.submit("hills", owner="me", text=STUDY)
        wait_for(lambda: dispatcher.running == 1)
        os.kill(dispatcher._drivers[0].process.pid, signal.SIGKILL)
        wait_for(lambda: queue.find("hills").attempts == 2)
    with closing(SubmissionQueue(config.storage)) as queue:
        interrupted = queue.find("hills")
    assert interrupted.state in (SubmissionState.QUEUED, SubmissionState.DONE)
    with dispatching(config) as (_, queue):
        wait_for(lambda: not queue.find("hills").state.is_active)
        assert queue.find("hills").state is SubmissionState.DONE, queue.find("hills").reason
    store = open_store(config.storage)
    complete = store.trials("hills", states=[State.COMPLETE])
    store.close()
    runs = [t for t in complete if t.origin in (TrialOrigin.DEFAULT, TrialOrigin.SAMPLED)]
    strategies = [trial.strategy.key for trial in runs]
    assert len(strategies) == len(set(strategies)) >= 1


def test_a_study_waits_again_after_an_outage(
    config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(submission: object, url: str, lease: driver.Lease) -> None:
        raise errors.pop()

    monkeypatch.setattr(driver, "_run", fail)
    errors = [UsageError("no such model"), StoreUnavailableError("the database is away")]
    with closing(SubmissionQueue(config.storage)) as queue:
        queue.submit("hills", owner="me", text=STUDY)
        lease = driver.Lease(queue, "hills", "a driver", 30.0)
        assert driver._search(queue, config.storage, lease) == (SubmissionState.QUEUED, None)
        failed = SubmissionState.FAILED, "no such model"
        assert driver._search(queue, config.storage, lease) == failed


def test_drivers_import_nothing_from_the_folder_of_a_user(
    config: ServiceConfig, tmp_path: Path
) -> None:
    import subprocess
    import sys

    (tmp_path / "torch.py").write_text("raise SystemExit('imported')")
    code = "import importlib.util as u; print(u.find_spec('torch').origin)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=dict(driver_environment(config, "name")),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stdout.startswith(str(tmp_path))


def test_the_settings_of_an_instance_replace_those_of_studies(config: ServiceConfig) -> None:
    on_ray = replace(config, executor="ray", address="auto")
    assert on_ray.overrides == ["executor.kind=ray", "executor.address=auto"]
    assert config.overrides == []
