"""Run one trial alone, in this process: ``python -m autotune.trial runs/bert/0003/job.json``.

For a debugger, a profiler, or a machine that has no search stack.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from autotune.domain import CurvePoint, Job
from autotune.errors import UsageError


def main(path: str) -> None:
    """Print progress on stderr and the figures, as JSON, on stdout."""
    from autotune.trial.effects import allocator
    from autotune.trial.entry import evaluate

    job = read_job(Path(path))
    allocator.apply(str(job.strategy["allocator"]))
    outcome = evaluate(job, _progress)
    measured = outcome.result.measurements
    document = {
        "state": outcome.state.value,
        "reason": getattr(outcome, "reason", None),
        "metrics": {name: {"value": m.value, "unit": m.unit} for name, m in measured.items()},
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def read_job(path: Path) -> Job:
    """The job in a ``job.json``. Raises :class:`UsageError` where there is none."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Job).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path} holds no job: {error}") from error


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
