"""LocalExecutor: the contract, and no process left behind under any fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from contracts.executor_contract import ExecutorContract, evaluate, never_stop, run_job, run_jobs
from contracts.executor_jobs import make_job

from autotune.domain import (
    CONCURRENT_TRIALS,
    Completed,
    Failed,
    FailureReason,
    Interrupted,
    Job,
    Outcome,
    Resources,
)
from autotune.errors import ExecutionError
from autotune.execution.local import LocalExecutor
from autotune.execution.outcomes import SHARED_HOST, STOP_REQUESTED
from autotune.execution.ranks import LAUNCHER_VARIABLES

LIGHT = ("autotune.execution.worker",)
TIMEOUT_SECONDS = 90.0
"""Long, since the machine may be busy. Every process of these tests lives for 600 s."""


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    local = LocalExecutor(preload=LIGHT)
    yield local
    local.close()


@pytest.fixture
def pair() -> Iterator[LocalExecutor]:
    local = LocalExecutor(workers=2, preload=LIGHT)
    yield local
    local.close()


class TestLocalExecutor(ExecutorContract):
    """The contract, over local workers."""


def test_job_is_pinned_to_its_cores(executor: LocalExecutor, tmp_path: Path) -> None:
    job = make_job(tmp_path, resources=Resources(threads=1))
    environment = run_job(executor, job).result.environment
    assert len(environment["cores"]) == 1
    assert list(environment["reserved"]) == environment["cores"]
    assert environment["threads"] == "1"


def test_job_with_more_cores_than_the_host_runs_on_all(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    job = make_job(tmp_path, resources=Resources(processes=64, threads=64))
    environment = run_job(executor, job).result.environment
    assert environment["cores"] == sorted(os.sched_getaffinity(0))


def test_close_leaves_no_process(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    local = LocalExecutor(preload=LIGHT)
    run_jobs(local, [make_job(tmp_path)])
    local.close()
    assert set(psutil.Process().children(recursive=True)) == before


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that takes ten minutes to import."""
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "slow_module"


def test_close_does_not_wait_for_imports(slow_module: str) -> None:
    before = set(psutil.Process().children())
    LocalExecutor(preload=(slow_module,)).close()
    assert set(psutil.Process().children()) == before


def test_child_processes_end_with_the_trial(executor: LocalExecutor, tmp_path: Path) -> None:
    jobs = iter([make_job(tmp_path)])
    ended: list[Outcome] = []
    executor.run(
        lambda: next(jobs, None),
        leave_a_child,
        lambda job, outcome: ended.append(outcome),
        never_stop,
    )
    child = ended[0].result.environment["child"]
    assert wait_until(lambda: not alive(child))


def leave_a_child(job: Job, report: object) -> Outcome:
    from contracts.executor_jobs import done

    child = subprocess.Popen(["sleep", "600"])
    return done(job, child=child.pid)


def test_field_the_ranks_of_an_outer_launcher_are_not_those_of_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LAUNCHER_VARIABLES:
        monkeypatch.setenv(name, "7")
    with closing(LocalExecutor(preload=LIGHT)) as local:
        ended: list[Outcome] = []
        jobs = iter([make_job(tmp_path)])
        local.run(
            lambda: next(jobs, None),
            list_launcher_variables,
            lambda job, outcome: ended.append(outcome),
            never_stop,
        )
    assert ended[0].result.environment["variables"] == []


def list_launcher_variables(job: Job, report: object) -> Outcome:
    from contracts.executor_jobs import done

    return done(job, variables=sorted(os.environ.keys() & set(LAUNCHER_VARIABLES)))


def test_error_names_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    local = LocalExecutor(preload=("module_that_does_not_exist",))
    ended: list[Outcome] = []
    jobs = iter([make_job(tmp_path)])
    with pytest.raises(ExecutionError, match="module_that_does_not_exist"):
        local.run(
            lambda: next(jobs, None),
            evaluate,
            lambda job, outcome: ended.append(outcome),
            never_stop,
        )
    assert [type(outcome) for outcome in ended] == [Interrupted]
    local.close()


def test_functions_without_a_module_are_refused(executor: LocalExecutor) -> None:
    with pytest.raises(ExecutionError, match="cannot import") as caught:
        executor.call(lambda: 1)
    assert caught.value.hint is not None


def forkserver() -> psutil.Process:
    """The forkserver of this process, other than that of the standard library."""
    children = psutil.Process().children()
    [server] = [p for p in children if "autotune.execution.forkserver" in str(p.cmdline())]
    return server


def test_lost_forkserver_is_replaced(executor: LocalExecutor, tmp_path: Path) -> None:
    first, second = (make_job(tmp_path, n) for n in (0, 1))
    assert isinstance(run_job(executor, first), Completed)
    server = forkserver()
    server.kill()
    assert wait_until(lambda: not alive(server.pid))
    assert isinstance(run_job(executor, second), Completed)


def test_jobs_of_a_lost_forkserver_fail_for_infrastructure(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    pids: list[int] = []

    def kill_forkserver(job: Job, point: object) -> None:
        children = psutil.Process().children(recursive=True)
        pids.extend(p.pid for p in children)
        forkserver().kill()

    outcome = run_job(executor, make_job(tmp_path, do="hang"), kill_forkserver)
    assert isinstance(outcome, Failed)
    assert outcome.failure == FailureReason.INFRASTRUCTURE
    assert wait_until(lambda: not any(map(alive, pids)))


DRIVER = """
import sys
from pathlib import Path
sys.path[:] = {path!r}
from contracts.executor_contract import never_stop
from contracts.executor_jobs import make_job
import doomed_jobs
from autotune.execution.local import LocalExecutor
jobs = iter([make_job(Path({directory!r}), n, do=do) for n, do in enumerate({actions!r})])
local = LocalExecutor(workers=2, preload=({preload!r},))
local.run(lambda: next(jobs, None), doomed_jobs.evaluate, lambda *_: None, never_stop)
"""


def start_driver(directory: Path, actions: list[str], preload: str) -> subprocess.Popen[bytes]:
    code = DRIVER.format(path=sys.path, directory=str(directory), actions=actions, preload=preload)
    return subprocess.Popen([sys.executable, "-c", code])


def kill_and_check_processes(driver: subprocess.Popen[bytes], pids: list[int]) -> None:
    assert pids
    assert all(map(alive, pids))
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert wait_until(lambda: not any(map(alive, pids)))


def test_workers_end_with_a_killed_driver(tmp_path: Path) -> None:
    """One worker has a child process, one never releases the interpreter lock."""
    driver = start_driver(tmp_path, ["with_child", "holding_the_lock"], *LIGHT)
    files = [tmp_path / "0" / "child", tmp_path / "0" / "pid", tmp_path / "1" / "pid"]
    assert wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    servers = [child.pid for child in psutil.Process(driver.pid).children()]
    kill_and_check_processes(driver, pids + servers)


def test_worker_detects_a_dead_driver_by_itself(tmp_path: Path) -> None:
    driver = start_driver(tmp_path, ["with_child"], *LIGHT)
    files = [tmp_path / "0" / "child", tmp_path / "0" / "pid"]
    assert wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    [server] = psutil.Process(driver.pid).children()
    server.suspend()  # so that only the worker itself can detect it
    kill_and_check_processes(driver, pids)
    server.kill()


def test_importing_forkserver_ends_with_its_driver(tmp_path: Path, slow_module: str) -> None:
    driver = start_driver(tmp_path, [], slow_module)

    def servers() -> list[int]:
        return [child.pid for child in psutil.Process(driver.pid).children()]

    assert wait_until(lambda: bool(servers()))
    kill_and_check_processes(driver, servers())


def test_concurrent_trials_are_marked(pair: LocalExecutor, tmp_path: Path) -> None:
    one = Resources(threads=1)
    concurrent = run_jobs(pair, [make_job(tmp_path, n, resources=one) for n in range(2)])
    marks = [outcome.result.environment.get(CONCURRENT_TRIALS) for _, outcome in concurrent]
    assert marks == [1, 1]
    assert all(o.result.events[-1].kind == SHARED_HOST for _, o in concurrent)
    [(_, isolated)] = run_jobs(pair, [make_job(tmp_path, 2, resources=one)])
    assert CONCURRENT_TRIALS not in isolated.result.environment


@pytest.mark.parametrize("moment", ["running", "starting"])
def test_field_stop_ends_a_suspended_forkserver(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr("autotune.execution.local.STOP_SECONDS", 0.5)
    server = psutil.Process(executor._spawner._server.pid)

    def suspend_and_stop(job: Job, point: object) -> None:
        server.suspend()
        executor.stop()

    def suspend_before_the_start() -> Iterator[Job]:
        server.suspend()
        threading.Timer(0.3, executor.stop).start()
        yield job

    job = make_job(tmp_path, do="hang")
    if moment == "starting":
        executor.call(os.getpid)  # the imports are done
        [(_, outcome)] = run_jobs(executor, suspend_before_the_start())
    else:
        outcome = run_job(executor, job, suspend_and_stop)
    assert isinstance(outcome, Interrupted)
    assert outcome.reason == STOP_REQUESTED
