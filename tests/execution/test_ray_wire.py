"""Orders for workers over the network: carried out for who knows the key, ended by hanging up."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from contracts.executor_contract import never_stop
from contracts.executor_jobs import evaluate, make_job

from autotune.domain import Completed, Failed, FailureReason, Interrupted, Pruned, TrialResult
from autotune.execution.job import RunningJob
from autotune.execution.messages import Call, RunTrial
from autotune.execution.ray.worker_group import _root
from autotune.execution.ray.worker_server import WorkerServer, order_worker
from autotune.execution.spawner import Spawner, call_in_worker

KEY = b"k" * 32


@pytest.fixture(scope="module")
def counter() -> Iterator[WorkerServer]:
    spawner = Spawner(())
    made = WorkerServer("127.0.0.1", KEY, spawner.send_fd)
    threading.Thread(target=made.serve, daemon=True).start()
    yield made
    spawner.close()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_worker_is_ordered_and_returns(counter: WorkerServer) -> None:
    worker = order_worker(counter.address, KEY)
    assert worker is not None
    assert call_in_worker(worker, Call(os.getpid, (), {})) == worker.pid


def test_who_does_not_know_the_key_gets_no_worker(counter: WorkerServer) -> None:
    with contextlib.suppress(ConnectionError):  # turned away before all was heard
        assert order_worker(counter.address, b"j" * 32) is None


def test_a_worker_is_ended_and_says_how(counter: WorkerServer, tmp_path: Path) -> None:
    worker = order_worker(counter.address, KEY)
    assert worker is not None
    job = make_job(tmp_path, do="hang")
    worker.connection.send(RunTrial(job, evaluate, 1.0))
    running = RunningJob(job, worker)
    while not worker.connection.poll(0.05):
        pass
    running.serve(never_stop)
    running.end(Interrupted("enough"))
    outcome = running.finish()
    assert isinstance(outcome, Interrupted)
    assert len(outcome.result.curve) == 1
    assert gone(worker.pid)


def test_a_worker_ends_with_whoever_ordered_it(counter: WorkerServer, tmp_path: Path) -> None:
    worker = order_worker(counter.address, KEY)
    assert worker is not None
    worker.connection.send(RunTrial(make_job(tmp_path, do="hang"), evaluate, 1.0))
    worker.connection.close()  # as the kernel does when a process ends
    os.close(worker.status)
    deadline = time.monotonic() + 30
    while not gone(worker.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_root_of_a_failure_is_told_from_what_follows_from_it() -> None:
    reset = Failed(FailureReason.ERROR, "rank 0: connection reset by peer")
    killed = Failed(FailureReason.CRASH, "rank 1: killed by SIGKILL")
    lost = Failed(FailureReason.INFRASTRUCTURE, "the worker's parent process was lost")
    assert _root([reset, killed]) is killed
    assert _root([reset, killed, lost]) is lost
    assert _root([Interrupted("another rank failed"), reset]) is reset
    done = Completed(TrialResult())
    assert _root([done, Interrupted("another rank failed")]) is done
    stopped = Pruned("dominated")
    assert _root([stopped, replace(stopped, reason="other")]) is stopped
