"""The worker: a fresh process that executes one order and exits. Everything here runs in the child.

The order of steps matters: log, cores, allocator and limits are in force before any code of the
trial runs, so that they apply to its first allocation.
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
from autotune.execution.memory import MemoryWatchdog, end_group
from autotune.execution.messages import (
    Call,
    Channel,
    DriverDisconnected,
    Ended,
    Raised,
    RendezvousPort,
    RunTrial,
)
from autotune.execution.resources import lock_cores
from autotune.hardware.cores import usable_cores
from autotune.trial.effects import allocator
from autotune.trial.job_files import LOG

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def main(connection_fd: int) -> NoReturn:
    """Receive one order from the driver, execute it, and end this process group."""
    channel = Channel(Connection(connection_fd))
    try:
        _execute(channel.receive(), channel)
    except DriverDisconnected:
        pass  # there is no one to report to
    except AutotuneError as error:
        channel.send(Raised(error))
    except Exception as error:
        # The driver may not have this exception class, and a traceback cannot be pickled.
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
    """The file that receives the output of a job."""
    return str(Path(job.directory) / LOG)


def _run_trial(order: RunTrial, channel: Channel) -> None:
    watchdog = MemoryWatchdog(channel, order.memory_gib)
    outcome = _evaluate(order, channel, watchdog)
    sys.stdout.flush()
    watchdog.flush()
    channel.send(Ended(outcome))


def _evaluate(order: RunTrial, channel: Channel, watchdog: MemoryWatchdog) -> Outcome:
    job = order.job

    def report(point: CurvePoint) -> str | None:
        channel.send(point)
        answer: str | None = channel.receive() if point.metrics else None
        return answer

    def report_port(port: int) -> None:
        channel.send(RendezvousPort(port))

    log = log_path(job)
    try:
        _redirect_output(log)
        ranks.remove_launcher_variables()
        os.environ.update(order.environment)
        if order.cores_to_lock:
            job = replace(job, cores=lock_cores(usable_cores(), order.cores_to_lock))
        _pin_and_limit(job, order.memory_gib)
        if ranks.is_parallel(job):
            launcher = ranks.RankLauncher(order.evaluate, job, order.ranks, report_port)
            watchdog.start(launcher.pids)
            return launcher.wait(report)
        watchdog.start()
        memory.clear_errno()
        return order.evaluate(job, report)
    except DriverDisconnected:
        raise
    except BaseException as error:
        outcome = outcomes.of_exception(error, log)
        traceback.print_exc()
        return outcome


def _redirect_output(path: str) -> None:
    """Write this process's output, of Python and of C libraries, to the trial's log."""
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
    """Apply the job's cores, threads, devices, allocator and memory limit to this process."""
    if job.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cores)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(job.resources.threads)))
    uses_cuda = any(device.startswith("cuda") for device in job.resources.devices)
    if not uses_cuda:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    allocator.apply(str(job.strategy.get("allocator", "system")))
    if not uses_cuda:
        # A CUDA context reserves far more address space than the host memory it uses.
        memory.set_limit(memory_gib)
    torch = sys.modules.get("torch")
    if torch is not None:
        # Its thread pool read the environment when the forkserver imported it.
        torch.set_num_threads(job.resources.threads)
