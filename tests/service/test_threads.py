"""Threads and commands of the service when something fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.domain.clock import utc_now
from autotune.errors import DamagedStudyError, NotFoundError, StoreUnavailableError, UsageError
from autotune.service import commands, events, monitor
from autotune.service.dispatcher import Dispatcher, DriverProcess
from autotune.service.events import ChangeFeed
from autotune.service.monitor import Monitor
from autotune.service.studies import Studies, open_studies
from autotune.service.worker_thread import WorkerThread
from autotune.store import open_store
from autotune.store.access import AccessToken, Role
from autotune.store.outbox import Outbox
from autotune.store.queue import SubmissionQueue
from autotune.store.submissions import SubmissionState
from tests.service.conftest import STUDY, make_config, store_study

WAIT_SECONDS = 60.0


class FailingThread(WorkerThread):
    """Its first step has a defect."""

    def __init__(self) -> None:
        super().__init__("failing", 0.001)
        self.steps = 0
        self.is_done = threading.Event()

    def step(self) -> None:
        self.steps += 1
        if self.steps == 1:
            raise KeyError("a defect")
        self.is_done.set()


def test_a_defect_does_not_end_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    thread = FailingThread()
    thread.start()
    try:
        assert thread.is_done.wait(WAIT_SECONDS)
    finally:
        thread.stop()
    assert "failing: unexpected error" in caplog.text


def test_a_driver_whose_study_was_deleted_leaves_its_slot(tmp_path: Path) -> None:
    config = make_config(tmp_path, workers=1)
    open_store(config.storage).close()
    with closing(SubmissionQueue(config.storage)) as queue:
        queue.submit("hills", owner="me", text=STUDY)
        queue.claim("driver")
        dispatcher = Dispatcher(config, queue)
        process = subprocess.Popen([sys.executable, "-c", ""])
        dispatcher._drivers.append(DriverProcess("hills", "driver", process))
        process.wait(WAIT_SECONDS)
        queue.end("hills", "driver", SubmissionState.DONE)
        queue.delete("hills")
        dispatcher.step()
        assert dispatcher.running == 0


def test_leases_are_renewed_before_others_end(tmp_path: Path) -> None:
    calls: list[str] = []
    failures = [StoreUnavailableError("the database is away")]

    class Queue:
        def renew(self, study: str, driver: str) -> bool:
            calls.append("renew")
            if failures:
                raise failures.pop()
            return True

        def expire_leases(self) -> list[str]:
            calls.append("expire")
            return []

        def claim(self, driver: str) -> None:
            return None

    dispatcher = Dispatcher(make_config(tmp_path, workers=1), Queue())  # type: ignore[arg-type]
    process: Any = SimpleNamespace(poll=lambda: None)
    dispatcher._drivers.append(DriverProcess("hills", "driver", process))
    with pytest.raises(StoreUnavailableError):
        dispatcher.step()
    dispatcher.step()
    assert calls == ["renew", "renew", "expire"]


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[Studies]:
    config = make_config(tmp_path)
    store_study(config.storage)
    studies = open_studies(config)
    yield studies
    studies.queue.close()
    studies.store.close()


def test_a_damaged_study_does_not_hide_others(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("small", "damaged"):  # the latest is looked at first
        studies.queue.submit(name, owner="me", text="")
        studies.queue.claim("driver")
        studies.queue.end(name, "driver", SubmissionState.DONE)
    outbox = Outbox(studies.config.storage)
    outbox.add_webhook("me", "http://127.0.0.1:9/", [monitor.EventName.FRONT])
    read = studies.snapshot

    def snapshot(name: str) -> Any:
        if name == "damaged":
            raise DamagedStudyError("trial 3 of study damaged cannot be read")
        return read(name)

    monkeypatch.setattr(studies, "snapshot", snapshot)
    assert Monitor(studies.config, studies, outbox).step() == 1
    outbox.close()


def test_a_watcher_reads_again_only_after_a_change(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies.queue.submit("small", owner="me", text="")
    reads = []
    read = events._changes

    def changes(*arguments: Any) -> Any:
        reads.append(arguments)
        return read(*arguments)

    monkeypatch.setattr(events, "_changes", changes)

    async def watch() -> list[str]:
        feed = ChangeFeed(studies)
        names = []
        async for event in events.study_events(feed, "small", 0):
            names.append(event.split()[1])
            if names == ["state", "trial", "trial"]:
                feed.start()  # until now nobody has read the revisions
                studies.queue.stop("small")
        await feed.stop()
        return names

    assert asyncio.run(watch()) == ["state", "trial", "trial", "state", "end"]
    assert len(reads) == 2


def completed(status: int, stderr: str) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(["autotune"], status, "", stderr)


def test_the_error_of_a_command_is_its_message_and_hint() -> None:
    stderr = "trial 1: error: none\nerror: row 1 has no text: error: x\nhint: give\n one\n"
    error = commands._command_error("predict", completed(2, stderr))
    assert (error.message, error.hint) == ("row 1 has no text: error: x", "give one")


def test_the_traceback_of_a_command_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    error = commands._command_error("export", completed(-9, "Traceback: /srv/secret"))
    assert isinstance(error, UsageError)
    assert error.message == "autotune export ended with status -9"
    assert "/srv/secret" in caplog.text and "/srv" not in json.dumps([error.message, error.hint])


def test_a_study_is_not_mistaken_for_a_deleted_one_of_its_name(studies: Studies) -> None:
    before = studies.snapshot("small")
    assert studies.snapshot("small") is before
    studies.store.delete_study("small")  # by another instance
    store_study(studies.config.storage)
    after = studies.snapshot("small")
    assert after is not before
    assert after.trials[0].started_at != before.trials[0].started_at


def test_a_study_that_cannot_be_deleted_yet_keeps_its_owner(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = AccessToken("me", Role.SUBMIT, None, utc_now(), None)
    studies.queue.submit("small", owner="me", text="")

    def refuse(name: str) -> int:
        raise UsageError(f"study {name} is being searched by another process")

    with monkeypatch.context() as patch:
        patch.setattr(studies.store, "delete_study", refuse)
        with pytest.raises(UsageError, match="being searched"):
            studies.delete(token, "small")
    assert studies.queue.claim("driver") is None, "it was withdrawn"
    studies.delete(token, "small")
    assert "small" not in studies.store.studies()
    with pytest.raises(NotFoundError):
        studies.find("small")
