"""Overhead of starting and ending a trial with the local executor, measured on no-op jobs.

``start`` is from the driver's ask to the running job with torch imported, ``end`` from the job's
return to the driver's tell. Run as ``python benchmarks/trial_overhead.py [--json] [--jobs N]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
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
from autotune.execution.local import LocalExecutor
from autotune.ports import Report


def evaluate(job: Job, report: Report) -> Outcome:
    """Do nothing and return the time, on a clock that all processes share."""
    started_at = time.monotonic()
    has_torch = "torch" in sys.modules
    return Completed(
        TrialResult(
            environment={"started": started_at, "torch": has_torch, "returned": time.monotonic()}
        )
    )


def measure(executor: LocalExecutor, directory: Path, jobs: int) -> dict[str, float]:
    """Median seconds of starting and ending a trial, over ``jobs`` after one that warms up."""
    ask_times: list[float] = []
    starts: list[float] = []
    ends: list[float] = []

    def ask() -> Job | None:
        number = len(ask_times)
        if number > jobs:
            return None
        ask_times.append(time.monotonic())
        return Job(
            "overhead", number, Strategy({}), Task(), 0, Resources(), Limits(), str(directory)
        )

    def tell(job: Job, outcome: Outcome) -> None:
        environment = outcome.result.environment
        if not environment.get("torch"):
            raise SystemExit(f"the job did not run as it should: {outcome}")
        starts.append(environment["started"] - ask_times[-1])
        ends.append(time.monotonic() - environment["returned"])

    def should_stop(job: Job, point: CurvePoint) -> None:
        return None

    executor.run(ask, evaluate, tell, should_stop)
    both = [start + end for start, end in zip(starts[1:], ends[1:], strict=True)]
    return {
        "jobs": jobs,
        "first_start_seconds": starts[0],
        "start_seconds": statistics.median(starts[1:]),
        "end_seconds": statistics.median(ends[1:]),
        "total_seconds": statistics.median(both),
        "total_seconds_max": max(both),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--jobs", type=int, default=20, help="no-op jobs to measure (default 20)")
    options = parser.parse_args()
    # Workers import the function by name, so this file must be importable.
    sys.path.insert(0, str(Path(__file__).parent))
    import trial_overhead

    executor = LocalExecutor()
    try:
        with tempfile.TemporaryDirectory() as directory:
            figures = trial_overhead.measure(executor, Path(directory), options.jobs)
    finally:
        executor.close()
    if options.json:
        print(json.dumps(figures))
        return
    lines = {
        "first start, torch imported meanwhile": "first_start_seconds",
        "start, median": "start_seconds",
        "end, median": "end_seconds",
        "start and end, median": "total_seconds",
        "start and end, worst": "total_seconds_max",
    }
    for label, figure in lines.items():
        print(f"{label:<38} {figures[figure]:8.3f} s")


if __name__ == "__main__":
    main()
