"""Jobs and functions that the executor contract runs in workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from autotune.domain import (
    Completed,
    CurvePoint,
    Job,
    Limits,
    Outcome,
    Resources,
    Strategy,
    Task,
    TrialResult,
)
from autotune.errors import DataError, NanLoss, OutOfMemory, StopTrial, Unsupported
from autotune.ports import Report

MIB = 2**20


def make_job(directory: Path, number: int = 0, *, do: str = "nothing", **fields: object) -> Job:
    """A job whose strategy names the action of :func:`evaluate`."""
    values: dict[str, object] = {
        "study": "contract",
        "trial": number,
        "strategy": Strategy({"do": do}),
        "task": Task(),
        "seed": 0,
        "resources": Resources(),
        "limits": Limits(memory_gib=1.0, minutes=4.0),
        "directory": str(directory / str(number)),
    }
    return Job(**{**values, **fields})  # type: ignore[arg-type]


def evaluate(job: Job, report: Report) -> Outcome:
    """Run the action that the strategy names."""
    return ACTIONS[str(job.strategy["do"])](job, report)


def point(step: int, **metrics: float) -> CurvePoint:
    return CurvePoint(step, 10, step * 8, float(step), loss=1.0 / step, metrics=metrics)


def done(job: Job, **environment: object) -> Completed:
    return Completed(TrialResult(environment={"pid": os.getpid(), **environment}))


def nothing(job: Job, report: Report) -> Outcome:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return done(job, cores=cores, threads=os.environ.get("OMP_NUM_THREADS"), reserved=job.cores)


def speak(job: Job, report: Report) -> Outcome:
    sys.stdout.write("spoken to stdout\n")
    sys.stderr.write("spoken to stderr\n")
    subprocess.run(["echo", "spoken by a child"], check=True)
    return done(job)


def fail(job: Job, report: Report) -> Outcome:
    raise KeyError("no such thing")


def exhaust(job: Job, report: Report) -> Outcome:
    raise OutOfMemory("the device is full")


def run_out_of_memory(job: Job, report: Report) -> Outcome:
    raise MemoryError


def diverge(job: Job, report: Report) -> Outcome:
    raise NanLoss("loss is nan at step 3")


def refuse(job: Job, report: Report) -> Outcome:
    raise Unsupported("no such kernel")


def give_in(job: Job, report: Report) -> Outcome:
    raise StopTrial("seen enough")


def lose_connection(job: Job, report: Report) -> Outcome:
    raise ConnectionError("a mirror is down")


def die(job: Job, report: Report) -> Outcome:
    report(point(1))
    report(point(2, accuracy=0.5))
    os.kill(os.getpid(), signal.SIGKILL)
    return done(job)


def leave(job: Job, report: Report) -> Outcome:
    os._exit(3)


def hang(job: Job, report: Report) -> Outcome:
    report(point(1, accuracy=0.1))
    time.sleep(600)
    return done(job)


def grow(job: Job, report: Report) -> Outcome:
    blocks = []
    while True:
        blocks.append(bytearray(b"x" * (16 * MIB)))
        time.sleep(0.01)


def grab(job: Job, report: Report) -> Outcome:
    return done(job, size=len(bytearray(64 * 1024 * MIB)))


def train(job: Job, report: Report) -> Outcome:
    """Report five points; every second one is a rung."""
    for step in range(1, 6):
        metrics = {"accuracy": step / 10} if step % 2 == 0 else {}
        reason = report(point(step, **metrics))
        if reason is not None:
            raise StopTrial(reason)
    return done(job)


def return_the_unpicklable(job: Job, report: Report) -> Outcome:
    return done(job, function=lambda: None)


def meet(job: Job, report: Report) -> Outcome:
    """Wait until the other of two jobs runs too."""
    here = Path(job.directory)
    (here / "here").touch()
    other = here.parent / str(1 - job.trial) / "here"
    while not other.exists():
        time.sleep(0.01)
    return nothing(job, report)


def wait_a_moment(job: Job, report: Report) -> Outcome:
    began = time.monotonic()
    time.sleep(0.3)
    return done(job, began=began, ended=time.monotonic())


ACTIONS = {
    action.__name__: action
    for action in (
        nothing,
        speak,
        fail,
        exhaust,
        run_out_of_memory,
        diverge,
        refuse,
        give_in,
        lose_connection,
        die,
        leave,
        hang,
        grow,
        grab,
        train,
        return_the_unpicklable,
        meet,
        wait_a_moment,
    )
}


def add(left: int, right: int = 0) -> int:
    return left + right


def worker_id() -> int:
    return os.getpid()


def raise_data_error() -> None:
    raise DataError("no column 'text'", hint="set task.columns.text")


def raise_zero_division() -> float:
    return 1 / 0


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
