"""Run one trial in this process: ``python -m autotune.trial runs/bert/0003/job.json``.

For debuggers, profilers, and machines without the dependencies of the search.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from autotune.domain import CurvePoint
from autotune.errors import UsageError
from autotune.trial.job_files import read_job


def main(path: str) -> None:
    """Run the job in ``path``: progress to stderr, state and metrics as JSON to stdout."""
    from autotune.trial import evaluate
    from autotune.trial.effects import allocator

    job = read_job(Path(path))
    allocator.apply(str(job.strategy["allocator"]))
    outcome = evaluate(job, _progress)
    measurements = outcome.result.measurements
    document = {
        "state": outcome.state.value,
        "reason": getattr(outcome, "reason", None),
        "metrics": {name: {"value": m.value, "unit": m.unit} for name, m in measurements.items()},
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _progress(point: CurvePoint) -> None:
    loss = "" if point.loss is None else f" loss {point.loss:.4f}"
    sys.stderr.write(f"step {point.step}/{point.total_steps}{loss}\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except IndexError:
        sys.exit("usage: python -m autotune.trial JOB.json")
    except UsageError as error:
        sys.exit(f"error: {error.message}")
