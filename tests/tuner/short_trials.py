"""The trials of doomed drivers, with as few imports as possible."""

from __future__ import annotations

import random
import time

from autotune.domain import Job, Outcome
from autotune.ports import Report
from tests.tuner.small_study import completed, formula


def evaluate(job: Job, report: Report) -> Outcome:
    """A trial of 20 to 80 ms that reports once."""
    time.sleep(random.Random(job.trial).uniform(0.02, 0.08))
    formula(job, report)
    return completed(job.strategy)


def evaluate_hungrily(job: Job, report: Report) -> Outcome:
    """A trial that needs 2 GiB of memory with the largest batch size."""
    memory = bytearray(2 * 2**30) if job.strategy["batch_size"] == 64 else bytearray()
    memory[::4096] = b"x" * len(memory[::4096])
    return evaluate(job, report)
