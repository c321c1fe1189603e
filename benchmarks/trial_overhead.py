"""What starting and ending a trial costs with the local executor, measured on no-op jobs.

``start`` is from the driver's ask to the job running with torch at hand; ``end`` from the job's
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
    """Do nothing, and say when. The clock is the machine's, the same for every process."""
    began = time.monotonic()
    torch_at_hand = "torch" in sys.modules
    return Completed(
        TrialResult(
            environment={"began": began, "torch": torch_at_hand, "returned": time.monotonic()}
        )
    )


def measure(executor: LocalExecutor, directory: Path, jobs: int) -> dict[str, float]:
    """Median seconds of starting and ending a trial, over ``jobs`` after one that warms up."""
    asked: list[float] = []
    starts: list[float] = []
    ends: list[float] = []

    def ask() -> Job | None:
        number = len(asked)
        if number > jobs:
            return None
        asked.append(time.monotonic())
        return Job(
            "overhead", number, Strategy({}), Task(), 0, Resources(), Limits(), str(directory)
        )

    def tell(job: Job, outcome: Outcome) -> None:
        said = outcome.result.environment
        if not said.get("torch"):
            raise SystemExit(f"the job did not run as it should: {outcome}")
        starts.append(said["began"] - asked[-1])
        ends.append(time.monotonic() - said["returned"])

    def advise(job: Job, point: CurvePoint) -> None:
        return None

    executor.run(ask, evaluate, tell, advise)
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
    # Workers import what they run, and this file's own functions are in no module of theirs yet.
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
