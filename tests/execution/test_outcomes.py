"""Outcomes of exceptions, exit codes and limits."""

from __future__ import annotations

import ctypes
import errno
import os
import signal

import pytest
import torch

from autotune.domain import Completed, CurvePoint, Failed, FailureReason, Infeasible, TrialResult
from autotune.execution import memory, outcomes


@pytest.fixture(autouse=True)
def _clear_errno() -> None:
    memory.clear_errno()


def test_allocation_refused_by_the_c_library_is_out_of_memory() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    assert libc.malloc(ctypes.c_size_t(2**60)) is None
    assert memory.is_out_of_memory(RuntimeError("any message"))


def test_runtime_error_without_refused_allocation_is_not_out_of_memory() -> None:
    assert not memory.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))


def test_errno_can_be_cleared() -> None:
    memory._errno().value = errno.ENOMEM
    memory.clear_errno()
    assert not memory.is_out_of_memory(RuntimeError())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_fault_of_the_machine(code: int) -> None:
    outcome = outcomes.of_exception(OSError(code, "no space"), None)
    assert isinstance(outcome, Failed) and outcome.failure is FailureReason.INFRASTRUCTURE
    error = ValueError("the model cannot be saved")
    error.__cause__ = RuntimeError(f"{os.strerror(code)} (os error {code})")
    outcome = outcomes.of_exception(error, None)
    assert isinstance(outcome, Failed) and outcome.failure is FailureReason.INFRASTRUCTURE
    outcome = outcomes.of_exception(OSError(errno.ENOENT, "no file"), None)
    assert isinstance(outcome, Failed) and outcome.failure is FailureReason.ERROR


def test_cause_of_an_error_counts() -> None:
    error = ValueError("cannot load the model")
    error.__cause__ = MemoryError()
    assert memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    ("code", "failure", "message"),
    [
        (-signal.SIGSEGV, "crash", "SIGSEGV"),
        (7, "crash", "code 7"),
        (0, "crash", "code 0"),
        (None, "infrastructure", "lost"),
    ],
)
def test_exit_without_an_outcome(code: int | None, failure: str, message: str) -> None:
    outcome = outcomes.of_exit(code, "folder/log.txt")
    assert isinstance(outcome, Failed)
    assert outcome.failure == failure
    assert message in outcome.reason
    assert "folder/log.txt" in outcome.reason


def test_reports_of_the_trial_precede_those_of_the_driver() -> None:
    trial_point = CurvePoint(1, 2, 8, 0.5)
    driver_point = CurvePoint(2, 2, 16, 1.0)
    complete = Completed(TrialResult(curve=(trial_point,)))
    assert outcomes.with_result(
        complete, [driver_point], [(0.1, 1.0)], "log"
    ).result == TrialResult(curve=(trial_point,), memory=((0.1, 1.0),), log="log")
    timeout = Infeasible(FailureReason.TIMEOUT, "still running")
    assert outcomes.with_result(timeout, [driver_point], [], None).result.curve == (driver_point,)


@pytest.mark.parametrize(("code", "is_memory"), [(2, True), (700, False)])
def test_a_context_that_cuda_refuses_is_out_of_memory_by_its_code(
    code: int, is_memory: bool
) -> None:
    error = torch.AcceleratorError("CUDA error")
    error.error_code = code
    assert memory.is_out_of_memory(error) == is_memory


def test_a_gpu_without_memory_for_cublas_is_out_of_memory() -> None:
    error = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)")
    assert memory.is_out_of_memory(error)
    other = RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling cublasSgemm")
    assert not memory.is_out_of_memory(other)
