"""What becomes of a trial that did not return: one table from error, signal or limit to outcome.

It serves every executor. Out of memory is told by exception type, ``errno`` or the limit, never by
reading a message.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from autotune.domain import (
    CONCURRENT_TRIALS,
    CurvePoint,
    Event,
    Failed,
    FailureReason,
    Infeasible,
    Outcome,
    Pruned,
)
from autotune.errors import NanLoss, StopTrial, Unsupported
from autotune.execution.memory import ran_out

STOP_REQUESTED = "stopped on request"
"""Reason of jobs that :meth:`Executor.stop` ended."""

SHARED_HOST = "shared_host"
"""Kind of the event that marks a trial whose speeds were measured beside others."""


def of_exception(error: BaseException, log: str | None) -> Outcome:
    """The outcome of a trial that raised ``error``. Call it first thing in the handler."""
    if ran_out(error):
        return Infeasible(FailureReason.OUT_OF_MEMORY, _named(error))
    match error:
        case NanLoss():
            return Infeasible(FailureReason.NAN_LOSS, str(error))
        case Unsupported():
            return Infeasible(FailureReason.UNSUPPORTED, str(error))
        case StopTrial():
            return Pruned(str(error))
        case _:
            return Failed(FailureReason.ERROR, f"{_named(error)}{_place(error)}{_see(log)}")


def of_exit(code: int | None, log: str | None) -> Outcome:
    """The outcome of a worker that ended without a word; ``code`` as ``Popen.returncode`` has it,
    ``None`` where whoever watched the worker is itself gone."""
    if code is None:
        return Failed(
            FailureReason.INFRASTRUCTURE, f"the worker's parent process was lost{_see(log)}"
        )
    if code < 0:
        return Failed(FailureReason.CRASH, f"killed by {signal_name(-code)}{_see(log)}")
    return Failed(
        FailureReason.CRASH, f"the worker exited with code {code} and no result{_see(log)}"
    )


def of_timeout(minutes: float) -> Outcome:
    """The outcome of a trial that was still running at its time limit."""
    return Infeasible(
        FailureReason.TIMEOUT, f"still running after {minutes:g} minutes, its time limit"
    )


def with_evidence(
    outcome: Outcome,
    curve: Sequence[CurvePoint],
    memory: Sequence[tuple[float, float]],
    log: str | None,
) -> Outcome:
    """``outcome`` with what the driver saw along the way, where the trial did not say it itself."""
    own = outcome.result
    evidence = replace(
        own,
        curve=own.curve or tuple(curve),
        memory=own.memory or tuple(memory),
        log=own.log or log,
    )
    return replace(outcome, result=evidence)


def mark_concurrent(outcome: Outcome, others: int) -> Outcome:
    """``outcome`` with a mark that its speeds were measured beside ``others`` on the same host:
    they had cores of their own, and shared caches and memory's bandwidth."""
    own = outcome.result
    message = f"speeds were measured with {others} other trials running on this host"
    evidence = replace(
        own,
        events=(*own.events, Event(datetime.now(UTC), SHARED_HOST, message)),
        environment={**own.environment, CONCURRENT_TRIALS: others},
    )
    return replace(outcome, result=evidence)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; the number where the platform has no name for it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _see(log: str | None) -> str:
    return f"; log at {log}" if log else ""
