"""Requests for workers over the network: authentication, execution, and lifetime."""

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
from autotune.execution.ray.worker_group import _root_cause
from autotune.execution.ray.worker_server import WorkerServer, request_remote_worker
from autotune.execution.spawner import Spawner, call_in_worker

KEY = b"k" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[WorkerServer]:
    spawner = Spawner(())
    server = WorkerServer("127.0.0.1", KEY, spawner.send_fd)
    threading.Thread(target=server.serve, daemon=True).start()
    yield server
    spawner.close()


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_requested_worker_executes_a_call(server: WorkerServer) -> None:
    worker = request_remote_worker(server.address, KEY)
    assert worker is not None
    assert call_in_worker(worker, Call(os.getpid, (), {})) == worker.pid


def test_request_with_a_wrong_key_gets_no_worker(server: WorkerServer) -> None:
    with contextlib.suppress(ConnectionError):  # closed before all was sent
        assert request_remote_worker(server.address, b"j" * 32) is None


def test_ended_worker_reports_its_outcome(server: WorkerServer, tmp_path: Path) -> None:
    worker = request_remote_worker(server.address, KEY)
    assert worker is not None
    job = make_job(tmp_path, do="hang")
    worker.connection.send(RunTrial(job, evaluate, 1.0))
    running = RunningJob(job, worker)
    while not worker.connection.poll(0.05):
        pass
    running.serve(never_stop)
    running.end(Interrupted("test"))
    outcome = running.finish()
    assert isinstance(outcome, Interrupted)
    assert len(outcome.result.curve) == 1
    assert has_ended(worker.pid)


def test_worker_ends_with_its_requester(server: WorkerServer, tmp_path: Path) -> None:
    worker = request_remote_worker(server.address, KEY)
    assert worker is not None
    worker.connection.send(RunTrial(make_job(tmp_path, do="hang"), evaluate, 1.0))
    worker.connection.close()  # as the kernel does when a process ends
    os.close(worker.status)
    deadline = time.monotonic() + 90
    while not has_ended(worker.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_root_cause_is_distinguished_from_its_consequences() -> None:
    reset = Failed(FailureReason.ERROR, "rank 0: connection reset by peer")
    killed = Failed(FailureReason.CRASH, "rank 1: killed by SIGKILL")
    lost = Failed(FailureReason.INFRASTRUCTURE, "the worker's parent process was lost")
    assert _root_cause([reset, killed]) is killed
    assert _root_cause([reset, killed, lost]) is lost
    assert _root_cause([Interrupted("another rank failed"), reset]) is reset
    done = Completed(TrialResult())
    assert _root_cause([done, Interrupted("another rank failed")]) is done
    stopped = Pruned("dominated")
    assert _root_cause([stopped, replace(stopped, reason="other")]) is stopped
