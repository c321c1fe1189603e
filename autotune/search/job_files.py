"""What a trial's folder holds beside its log: the job that ran, and what came of it.

``job.json`` is enough to run the trial again, alone: ``python -m autotune.trial job.json``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from autotune.domain import Job, Trial
from autotune.errors import ExecutionError

JOB, RESULT = "job.json", "result.json"


@cache
def _adapter() -> TypeAdapter[Job]:
    return TypeAdapter(Job)


def write_job(job: Job) -> None:
    """Write ``job.json``, making the folder."""
    _write(Path(job.directory) / JOB, _adapter().dump_json(job, indent=2) + b"\n")


def write_result(job: Job, trial: Trial) -> None:
    """Write ``result.json``: how the trial ended and its figures by metric."""
    document = {
        "study": job.study,
        "trial": trial.number,
        "state": trial.state.value,
        "reason": trial.reason,
        "metrics": {
            name: {"value": m.value, "unit": m.unit, "n": m.n, "ci95": m.ci95}
            for name, m in trial.result.measurements.items()
        },
    }
    _write(Path(job.directory) / RESULT, json.dumps(document, indent=2).encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise ExecutionError(
            f"{path} cannot be written: {error.strerror}",
            hint="set AUTOTUNE_RUNS to a folder with room; autotune resume goes on from there",
        ) from error
