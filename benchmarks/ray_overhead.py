"""Overhead of Ray per trial, and a small study on Ray compared with the local executor.

The overhead is the time from asking for an empty job to telling its outcome: for jobs with the same
resources, and for jobs with alternating resources. The study is 12 jobs of single-threaded
arithmetic, as long as small fine-tunes, with 2 workers; the executors alternate. Run as
``python benchmarks/ray_overhead.py [--jobs N] [--rounds N] [--products N]``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autotune.domain import Completed, Job, Limits, Outcome, Resources, Strategy, Task, TrialResult
from autotune.execution.local import LocalExecutor
from autotune.ports import Executor, Report


def run_empty_job(job: Job, report: Report) -> Outcome:
    start = time.monotonic()
    return Completed(TrialResult(environment={"began": start, "returned": time.monotonic()}))


def run_arithmetic(job: Job, report: Report) -> Outcome:
    import torch

    matrix = torch.ones(1024, 1024)
    for _ in range(int(job.strategy["products"])):
        torch.mm(matrix, matrix)
    return Completed(TrialResult())


def make_jobs(
    count: int, directory: Path, threads: Callable[[int], int], products: int = 0
) -> Iterator[Job]:
    strategy = Strategy({"products": products})
    for number in range(count):
        resources = Resources(threads=threads(number))
        yield Job("b", number, strategy, Task(), 0, resources, Limits(), str(directory))


def measure_overhead(
    executor: Executor, count: int, threads: Callable[[int], int]
) -> tuple[float, float]:
    """Median and maximum of the seconds from ask to tell without the job itself; the first job is
    excluded."""
    asked_at: dict[int, float] = {}
    overheads: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        source = make_jobs(count + 1, Path(folder), threads)

        def ask() -> Job | None:
            job = next(source, None)
            if job is not None:
                asked_at[job.trial] = time.monotonic()
            return job

        def tell(job: Job, outcome: Outcome) -> None:
            environment = outcome.result.environment
            seconds = environment["returned"] - environment["began"]
            overheads.append(time.monotonic() - asked_at[job.trial] - seconds)

        executor.run(ask, run_empty_job, tell, lambda job, point: None)
    return statistics.median(overheads[1:]), max(overheads[1:])


def run_study(executor: Executor, products: int) -> float:
    """Seconds from the first ask to the last tell of 12 jobs."""
    with tempfile.TemporaryDirectory() as folder:
        source = make_jobs(12, Path(folder), lambda number: 1, products)
        start = time.monotonic()
        executor.run(
            lambda: next(source, None),
            run_arithmetic,
            lambda job, outcome: None,
            lambda job, p: None,
        )
        return time.monotonic() - start


@contextmanager
def closing(executor: Executor) -> Iterator[Executor]:
    try:
        yield executor
    finally:
        executor.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--products", type=int, default=300, help="of matrices, in each job")
    options = parser.parse_args()
    # Workers import the functions that they run, so these must be in an importable module.
    sys.path.insert(0, str(Path(__file__).parent))
    import ray_overhead as module

    from autotune.execution.ray.executor import (
        RayExecutor,
    )  # takes a second, which workers need not spend

    with closing(LocalExecutor()) as local, closing(RayExecutor(1)) as one:
        for executor in (local, one):
            executor.call(time.time)  # until torch is loaded
        for name, executor, threads in (
            ("local", local, lambda n: 1),
            ("ray, same resources", one, lambda n: 1),
            ("ray, alternating resources", one, lambda n: 1 + n % 2),
        ):
            typical, worst = module.measure_overhead(executor, options.jobs, threads)
            print(f"{name:<28} {typical:6.3f} s per trial (max {worst:.3f})", flush=True)
        with closing(LocalExecutor(2)) as pair, closing(RayExecutor(2)) as ray_pair:
            ratios = []
            for executor in (pair, ray_pair):
                executor.call(time.time)
            for _ in range(options.rounds):
                local_seconds = module.run_study(pair, options.products)
                ray_seconds = module.run_study(ray_pair, options.products)
                ratios.append(local_seconds / ray_seconds)
                print(f"12 jobs: local {local_seconds:.1f} s, ray {ray_seconds:.1f} s", flush=True)
            print(f"local / ray: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
