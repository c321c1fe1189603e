"""What the default forkserver gives a trial: torch at once, clean, under the job's own settings."""

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
        limits=Limits(memory_gib=1.0, minutes=1.0),
        resources=Resources(threads=1),
    )
    jobs, told = iter([job]), []
    executor.run(
        lambda: next(jobs, None),
        torch_jobs.evaluate,
        lambda job, outcome: told.append(outcome),
        never_stop,
    )
    return told[0]


@pytest.mark.parametrize("do", ["ask_for_a_terabyte", "keep_allocating"])
def test_a_refused_tensor_is_out_of_memory(
    executor: LocalExecutor, tmp_path: Path, do: str
) -> None:
    outcome = run(executor, tmp_path, do=do)
    assert isinstance(outcome, Infeasible)
    assert outcome.failure == FailureReason.OUT_OF_MEMORY


def test_another_runtime_error_of_torch_is_an_error(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    outcome = run(executor, tmp_path, do="mistake_a_shape")
    assert isinstance(outcome, Failed)
    assert outcome.failure == FailureReason.ERROR


def test_threads_are_those_of_the_job(executor: LocalExecutor, tmp_path: Path) -> None:
    assert run(executor, tmp_path).result.environment["threads"] == 1


def test_tuned_allocator_keeps_what_was_freed(executor: LocalExecutor, tmp_path: Path) -> None:
    pages = torch_jobs.TENSOR_BYTES / resource.getpagesize()
    tuned = run(executor, tmp_path, allocator="tuned")
    assert isinstance(tuned, Completed)
    assert tuned.result.environment["faults_per_step"] < 0.01 * pages


def test_one_trial_does_not_leave_its_allocator_to_the_next(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    run(executor, tmp_path, allocator="tuned")
    after = run(executor, tmp_path, allocator="system").result.environment["faults_per_step"]
    fresh = run(executor, tmp_path).result.environment["faults_per_step"]
    assert after == pytest.approx(fresh, rel=0.5)
    assert after > 1


def test_the_forkserver_has_one_thread(executor: LocalExecutor) -> None:
    executor.call(len, "")
    servers = [p for p in psutil.Process().children() if "execution.forkserver" in str(p.cmdline())]
    assert [server.num_threads() for server in servers] == [1]


def test_a_worker_does_not_carry_what_no_trial_needs(executor: LocalExecutor) -> None:
    found = executor.call(torch_jobs.libraries)
    assert {"torch", "transformers"} <= found
    assert not {"scipy", "sklearn", "pandas", "ray", "optuna"} & found
