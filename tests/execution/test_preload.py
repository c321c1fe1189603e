"""Workers of the default forkserver: torch is imported, and the settings of the job apply."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch_jobs
from contracts.executor_contract import never_stop
from contracts.executor_jobs import make_job

from autotune.domain import (
    Completed,
    Failed,
    FailureReason,
    Infeasible,
    Limits,
    Outcome,
    Resources,
    Strategy,
)
from autotune.execution.local import LocalExecutor


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    local = LocalExecutor()
    yield local
    local.close()


def run(executor: LocalExecutor, directory: Path, **values: str) -> Outcome:
    job = make_job(
        directory,
        strategy=Strategy({"do": "nothing", **values}),
        limits=Limits(memory_gib=1.0, minutes=4.0),
        resources=Resources(threads=1),
    )
    jobs, ended = iter([job]), []
    executor.run(
        lambda: next(jobs, None),
        torch_jobs.evaluate,
        lambda job, outcome: ended.append(outcome),
        never_stop,
    )
    return ended[0]


@pytest.mark.parametrize("do", ["ask_for_a_terabyte", "keep_allocating"])
def test_refused_tensor_is_out_of_memory(executor: LocalExecutor, tmp_path: Path, do: str) -> None:
    outcome = run(executor, tmp_path, do=do)
    assert isinstance(outcome, Infeasible)
    assert outcome.failure == FailureReason.OUT_OF_MEMORY


def test_other_runtime_errors_of_torch_are_errors(executor: LocalExecutor, tmp_path: Path) -> None:
    outcome = run(executor, tmp_path, do="mistake_a_shape")
    assert isinstance(outcome, Failed)
    assert outcome.failure == FailureReason.ERROR


def test_torch_has_the_threads_of_the_job(executor: LocalExecutor, tmp_path: Path) -> None:
    assert run(executor, tmp_path).result.environment["threads"] == 1


def test_tuned_allocator_keeps_freed_memory(executor: LocalExecutor, tmp_path: Path) -> None:
    pages = torch_jobs.TENSOR_BYTES / resource.getpagesize()
    tuned = run(executor, tmp_path, allocator="tuned")
    assert isinstance(tuned, Completed)
    assert tuned.result.environment["faults_per_step"] < 0.01 * pages


def test_allocator_settings_end_with_the_trial(executor: LocalExecutor, tmp_path: Path) -> None:
    run(executor, tmp_path, allocator="tuned")
    after = run(executor, tmp_path, allocator="system").result.environment["faults_per_step"]
    fresh = run(executor, tmp_path).result.environment["faults_per_step"]
    assert after == pytest.approx(fresh, rel=0.5)
    assert after > 1


def test_forkserver_has_one_thread(executor: LocalExecutor) -> None:
    executor.call(len, "")
    servers = [p for p in psutil.Process().children() if "execution.forkserver" in str(p.cmdline())]
    assert [server.num_threads() for server in servers] == [1]


def test_worker_imports_only_what_trials_need(executor: LocalExecutor) -> None:
    libraries = executor.call(torch_jobs.libraries)
    assert {"torch", "transformers"} <= libraries
    assert not {"scipy", "sklearn", "pandas", "ray", "optuna"} & libraries
