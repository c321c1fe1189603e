"""The files in a trial's folder: ``job.json`` with its job, ``result.json`` with its outcome.

``job.json`` is enough to run the trial again: ``python -m autotune.trial job.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from autotune.domain import Job, Trial
from autotune.errors import ExecutionError, UsageError
from autotune.trial.model_files import delete_model

JOB, RESULT = "job.json", "result.json"
LOG, EARLIER_LOG = "log.txt", "log.earlier.txt"
CHECKPOINTS = "checkpoint-*.safetensors*"
"""Pattern of the names of checkpoints, complete ones and those that are being written."""


@cache
def _adapter() -> TypeAdapter[Job]:
    return TypeAdapter(Job)


def read_job(path: Path) -> Job:
    """The job in a ``job.json``.

    :raises UsageError: the file cannot be read or is not a job.
    """
    try:
        return _adapter().validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path} is not a job file: {error}") from error


def write_job(job: Job) -> None:
    """Write ``job.json``, creating the folder.

    A folder can have files of an earlier trial of this number, whose database was removed. Its log
    is renamed, so that each trial has a log of its own, and its result and model are deleted. So
    are its checkpoints, unless the job continues there.

    :raises ExecutionError: the file cannot be written.
    """
    folder = Path(job.directory)
    with suppress(OSError):  # what is written next reports a folder that cannot be used
        if (folder / LOG).exists():
            (folder / LOG).replace(folder / EARLIER_LOG)
        (folder / RESULT).unlink(missing_ok=True)
    delete_model(folder)
    if job.directory not in job.continues:
        remove_checkpoints(folder)
    _write(Path(job.directory) / JOB, _adapter().dump_json(job, indent=2) + b"\n")


def write_result(job: Job, trial: Trial) -> None:
    """Write ``result.json``: the state of the finished trial and its metrics.

    :raises ExecutionError: the file cannot be written.
    """
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


def remove_checkpoints(folder: Path, *, keep: Sequence[str] = ()) -> None:
    """Delete the checkpoints in the folder of a trial, except those whose names begin with one of
    ``keep``. What cannot be deleted stays."""
    for path in folder.glob(CHECKPOINTS):
        if not path.name.startswith(tuple(keep)):
            with suppress(OSError):
                path.unlink()


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise ExecutionError(
            f"{path} cannot be written: {error.strerror}",
            hint="set AUTOTUNE_RUNS to a writable folder with free space, then autotune resume",
        ) from error
