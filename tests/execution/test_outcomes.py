"""The table from errors, exit codes and limits to outcomes."""

from __future__ import annotations

import ctypes
import errno
import signal

import pytest

from autotune.domain import Completed, CurvePoint, Failed, FailureReason, Infeasible, TrialResult
from autotune.execution import memory, outcomes


@pytest.fixture(autouse=True)
def _no_refusal_yet() -> None:
    memory.clear_errno()


def test_a_refusal_by_the_c_library_is_seen() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    assert libc.malloc(ctypes.c_size_t(2**60)) is None
    assert memory.is_out_of_memory(RuntimeError("whatever it says"))


def test_a_runtime_error_without_refusal_is_none() -> None:
    assert not memory.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))


def test_a_refusal_is_forgotten() -> None:
    memory._errno().value = errno.ENOMEM
    memory.clear_errno()
    assert not memory.is_out_of_memory(RuntimeError())


def test_a_cause_counts() -> None:
    error = ValueError("cannot load the model")
    error.__cause__ = MemoryError()
    assert memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (-signal.SIGSEGV, "crash", "SIGSEGV"),
        (7, "crash", "code 7"),
        (0, "crash", "code 0"),
        (None, "infrastructure", "lost"),
    ],
)
def test_ends_without_a_word(code: int | None, kind: str, said: str) -> None:
    outcome = outcomes.of_exit(code, "there/log.txt")
    assert isinstance(outcome, Failed)
    assert outcome.failure == kind
    assert said in outcome.reason
    assert "there/log.txt" in outcome.reason


def test_what_the_trial_says_stands_before_what_the_driver_saw() -> None:
    own = CurvePoint(1, 2, 8, 0.5)
    seen = CurvePoint(2, 2, 16, 1.0)
    said = Completed(TrialResult(curve=(own,)))
    assert outcomes.with_result(said, [seen], [(0.1, 1.0)], "log").result == TrialResult(
        curve=(own,), memory=((0.1, 1.0),), log="log"
    )
    silent = Infeasible(FailureReason.TIMEOUT, "still running")
    assert outcomes.with_result(silent, [seen], [], None).result.curve == (seen,)
