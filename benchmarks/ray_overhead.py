"""What Ray adds to a trial, and a small study on Ray against the same on the local executor.

The overhead is the time from asking for a job that does nothing to telling its outcome, for jobs
all of one shape, and of two shapes in turn. The study is 12 jobs of single-threaded arithmetic, as
long as small fine-tunes, with 2 workers; the executors take turns. Run as
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


def nothing(job: Job, report: Report) -> Outcome:
    began = time.monotonic()
    return Completed(TrialResult(environment={"began": began, "returned": time.monotonic()}))


def arithmetic(job: Job, report: Report) -> Outcome:
    import torch

    matrix = torch.ones(1024, 1024)
    for _ in range(int(job.strategy["products"])):
        torch.mm(matrix, matrix)
    return Completed(TrialResult())


def jobs(
    count: int, directory: Path, threads: Callable[[int], int], products: int = 0
) -> Iterator[Job]:
    strategy = Strategy({"products": products})
    for number in range(count):
        resources = Resources(threads=threads(number))
        yield Job("b", number, strategy, Task(), 0, resources, Limits(), str(directory))


def overhead(executor: Executor, count: int, threads: Callable[[int], int]) -> tuple[float, float]:
    """Median and worst seconds from ask to tell, less what the job itself took, after the first."""
    asked: dict[int, float] = {}
    costs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        source = jobs(count + 1, Path(folder), threads)

        def ask() -> Job | None:
            job = next(source, None)
            if job is not None:
                asked[job.trial] = time.monotonic()
            return job

        def tell(job: Job, outcome: Outcome) -> None:
            said = outcome.result.environment
            worked = said["returned"] - said["began"]
            costs.append(time.monotonic() - asked[job.trial] - worked)

        executor.run(ask, nothing, tell, lambda job, point: None)
    return statistics.median(costs[1:]), max(costs[1:])


def study(executor: Executor, products: int) -> float:
    """Seconds from the first ask to the last tell of 12 jobs."""
    with tempfile.TemporaryDirectory() as folder:
        source = jobs(12, Path(folder), lambda number: 1, products)
        began = time.monotonic()
        executor.run(
            lambda: next(source, None), arithmetic, lambda job, outcome: None, lambda job, p: None
        )
        return time.monotonic() - began


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
    # Workers import what they run, and this file's own functions are in no module of theirs yet.
    sys.path.insert(0, str(Path(__file__).parent))
    import ray_overhead as here

    from autotune.execution.ray.executor import RayExecutor  # a second, which workers are spared

    with closing(LocalExecutor()) as local, closing(RayExecutor(1)) as one:
        for executor in (local, one):
            executor.call(time.time)  # until torch is loaded
        for name, executor, threads in (
            ("local", local, lambda n: 1),
            ("ray, one shape", one, lambda n: 1),
            ("ray, two shapes in turn", one, lambda n: 1 + n % 2),
        ):
            middle, worst = here.overhead(executor, options.jobs, threads)
            print(f"{name:<28} {middle:6.3f} s a trial (worst {worst:.3f})", flush=True)
        with closing(LocalExecutor(2)) as pair, closing(RayExecutor(2)) as ray_pair:
            ratios = []
            for executor in (pair, ray_pair):
                executor.call(time.time)
            for _ in range(options.rounds):
                here_seconds = here.study(pair, options.products)
                ray_seconds = here.study(ray_pair, options.products)
                ratios.append(here_seconds / ray_seconds)
                print(f"12 jobs: local {here_seconds:.1f} s, ray {ray_seconds:.1f} s", flush=True)
            print(f"local / ray: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
