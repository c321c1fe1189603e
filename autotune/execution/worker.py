"""The worker: a fresh process that does one thing and ends. Everything here runs in the child.

The order is the point: log, cores, allocator and limits are in force before the trial is even
unpacked, so that its first allocation is made under them.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import sys
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from autotune.domain import CurvePoint, Job, Outcome
from autotune.errors import AutotuneError, ExecutionError
from autotune.execution import memory, outcomes, ranks
from autotune.execution.memory_watchdog import MemoryWatchdog, end_group
from autotune.execution.messages import (
    Call,
    Channel,
    DriverDisconnected,
    Ended,
    Raised,
    RendezvousPort,
    RunTrial,
)
from autotune.execution.resources import lock_cores, usable_cores
from autotune.trial.effects import allocator

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def main(connection_fd: int) -> NoReturn:
    """Take one order from the driver, carry it out, and end this process group."""
    channel = Channel(Connection(connection_fd))
    try:
        _execute(channel.receive(), channel)
    except DriverDisconnected:
        pass  # and with it whoever wanted the result
    except AutotuneError as error:
        channel.send(Raised(error))
    except Exception as error:
        # Its class may be unknown to the driver, and its traceback does not travel.
        foreign = ExecutionError(f"{type(error).__name__} in a worker: {error}")
        foreign.add_note(traceback.format_exc())
        channel.send(Raised(foreign))
    finally:
        end_group()


def _execute(order: RunTrial | Call, channel: Channel) -> None:
    if isinstance(order, RunTrial):
        _run_trial(order, channel)
        return
    MemoryWatchdog(channel, math.inf).start()
    channel.send(Ended(order.function(*order.args, **order.kwargs)))


def log_path(job: Job) -> str:
    """Where the output of a job goes."""
    return str(Path(job.directory) / "log.txt")


def _run_trial(order: RunTrial, channel: Channel) -> None:
    guard = MemoryWatchdog(channel, order.memory_gib)
    outcome = _evaluate(order, channel, guard)
    sys.stdout.flush()
    guard.flush()
    channel.send(Ended(outcome))


def _evaluate(order: RunTrial, channel: Channel, guard: MemoryWatchdog) -> Outcome:
    job = order.job

    def report(point: CurvePoint) -> str | None:
        channel.send(point)
        answer: str | None = channel.receive() if point.metrics else None
        return answer

    def opened(port: int) -> None:
        channel.send(RendezvousPort(port))

    log = log_path(job)
    try:
        _write_to(log)
        os.environ.update(order.environment)
        if order.claim:
            job = replace(job, cores=lock_cores(usable_cores(), order.claim))
        _pin_and_limit(job, order.memory_gib)
        if ranks.is_parallel(job):
            processes = ranks.RankLauncher(order.evaluate, job, order.share, opened)
            guard.start(processes.pids)
            return processes.wait(report)
        guard.start()
        memory.forget()
        return order.evaluate(job, report)
    except DriverDisconnected:
        raise
    except BaseException as error:
        outcome = outcomes.of_exception(error, log)
        traceback.print_exc()
        return outcome


def _write_to(path: str) -> None:
    """Send this process's output, Python's and the C libraries' alike, to the trial's log."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    sys.stdout = open(1, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logging.captureWarnings(True)


def _pin_and_limit(job: Job, memory_gib: float) -> None:
    """Give this process the cores, threads, devices, allocator and memory of its job."""
    if job.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cores)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(job.resources.threads)))
    on_cuda = any(device.startswith("cuda") for device in job.resources.devices)
    if not on_cuda:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    allocator.apply(str(job.strategy.get("allocator", "system")))
    if not on_cuda:
        # A CUDA context reserves far more address space than it ever holds on the host.
        memory.bound(memory_gib)
    torch = sys.modules.get("torch")
    if torch is not None:
        # Its thread pool read the environment when the forkserver imported it.
        torch.set_num_threads(job.resources.threads)
