"""Jobs that need torch, for workers of a forkserver that has imported it."""

from __future__ import annotations

import resource
import statistics
import sys

import torch

from autotune.domain import Completed, Job, Outcome, TrialResult
from autotune.ports import Report

STEPS = 40
TENSOR_BYTES = 64 * 2**20


def evaluate(job: Job, report: Report) -> Outcome:
    """Run the action that the strategy names."""
    match job.strategy["do"]:
        case "ask_for_a_terabyte":
            torch.empty(2**40, dtype=torch.int8)
        case "keep_allocating":
            tensors = []
            while True:
                tensors.append(torch.empty(TENSOR_BYTES, dtype=torch.int8))
        case "mistake_a_shape":
            torch.ones(2, 3) @ torch.ones(2, 3)
    return Completed(TrialResult(environment=_environment()))


def _environment() -> dict[str, float]:
    return {"threads": torch.get_num_threads(), "faults_per_step": _faults_per_step()}


def _faults_per_step() -> float:
    """Page faults for one large tensor, once the heap has grown to its size."""
    counts = []
    for _ in range(STEPS):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(TENSOR_BYTES, dtype=torch.int8)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return statistics.median(counts[STEPS // 2 :])


def libraries() -> frozenset[str]:
    """The names of the libraries that this process has imported."""
    return frozenset(name.partition(".")[0] for name in sys.modules)
