"""Converts exceptions, exit codes and exceeded limits to outcomes, for every executor.

Out of memory is recognised by exception type, ``errno``, the code of an error or limit, not by the
words of a message.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from autotune.domain import (
    CONCURRENT_TRIALS,
    KILLED_BY,
    CurvePoint,
    Event,
    Failed,
    FailureReason,
    Infeasible,
    Outcome,
    Pruned,
    TrialResult,
)
from autotune.domain.trial import LOG_NOTE
from autotune.errors import NanLoss, StopTrial, Unsupported, is_disk_full
from autotune.execution.memory import is_out_of_memory

STOP_REQUESTED = "stopped on request"
"""Reason of trials that :meth:`Executor.stop` has interrupted."""

OUTSIDE_SIGNALS = ("SIGHUP", "SIGKILL", "SIGTERM")
"""Signals that a trial does not send to itself: a user, a scheduler or the kernel has sent them."""

SHARED_HOST = "shared_host"
"""Kind of the event of a trial that ran concurrently with others on its host."""


def of_exception(error: BaseException, log: str | None) -> Outcome:
    """The outcome of a trial that raised ``error``. Call it first in the handler: it reads
    ``errno``."""
    if is_out_of_memory(error):
        return Infeasible(FailureReason.OUT_OF_MEMORY, _describe(error))
    match error:
        case NanLoss():
            return Infeasible(FailureReason.NAN_LOSS, str(error))
        case Unsupported():
            return Infeasible(FailureReason.UNSUPPORTED, str(error))
        case StopTrial():
            return Pruned(str(error))
    reason = f"{_describe(error)}{_location(error)}{_log_note(log)}"
    failure = FailureReason.INFRASTRUCTURE if is_disk_full(error) else FailureReason.ERROR
    return Failed(failure, reason)


def of_exit(code: int | None, log: str | None) -> Outcome:
    """The outcome of a worker that ended without an outcome.

    ``code`` is that of ``Popen.returncode``; ``None`` if the worker's parent process was lost.
    """
    if code is None:
        reason = "the worker's parent process was lost"
        return Failed(FailureReason.INFRASTRUCTURE, f"{reason}{_log_note(log)}")
    if code >= 0:
        reason = f"the worker exited with code {code} and no result"
        return Failed(FailureReason.CRASH, f"{reason}{_log_note(log)}")
    name = signal_name(-code)
    killed_by = {KILLED_BY: name} if name in OUTSIDE_SIGNALS else {}
    reason = f"killed by {name}{_log_note(log)}"
    return Failed(FailureReason.CRASH, reason, TrialResult(environment=killed_by))


def of_timeout(minutes: float) -> Outcome:
    """The outcome of a trial that exceeded its time limit."""
    reason = f"still running after {minutes:g} minutes, its time limit"
    return Infeasible(FailureReason.TIMEOUT, reason)


def with_result(
    outcome: Outcome,
    curve: Sequence[CurvePoint],
    memory: Sequence[tuple[float, float]],
    log: str | None,
) -> Outcome:
    """``outcome`` with what the driver recorded, where the trial itself reported nothing."""
    result = outcome.result
    result = replace(
        result,
        curve=result.curve or tuple(curve),
        memory=result.memory or tuple(memory),
        log=result.log or log,
    )
    return replace(outcome, result=result)


def mark_concurrent(outcome: Outcome, others: int) -> Outcome:
    """``outcome`` with a mark that ``others`` trials ran on the host at the same time.

    They have their own cores but share caches and memory bandwidth, so speeds are not comparable
    with those of an isolated run.
    """
    result = outcome.result
    message = f"speeds were measured with {others} other trials running on this host"
    result = replace(
        result,
        events=(*result.events, Event(datetime.now(UTC), SHARED_HOST, message)),
        environment={**result.environment, CONCURRENT_TRIALS: others},
    )
    return replace(outcome, result=result)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; ``signal 9`` where the platform has no name for it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _location(error: BaseException) -> str:
    """File and line that raised ``error``, in parentheses."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _log_note(log: str | None) -> str:
    return f"{LOG_NOTE}{log}" if log else ""
