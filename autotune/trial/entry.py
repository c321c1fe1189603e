"""What the driver hands to workers. Importing it loads no torch; running it does."""

from __future__ import annotations

from autotune.domain import Job, Outcome
from autotune.ports import Report


def evaluate(job: Job, report: Report) -> Outcome:
    """Run one trial here: :func:`autotune.trial.run.run_trial`."""
    from autotune.trial.run import run_trial

    return run_trial(job, report)
