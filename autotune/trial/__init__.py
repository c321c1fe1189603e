"""Trials: real fine-tunes under a strategy. Each lever's effect has a module of its own.

Importing this package does not import torch; :func:`evaluate` does.
"""

from __future__ import annotations

from autotune import plugins
from autotune.domain import Job, Outcome
from autotune.ports import Report


def evaluate(job: Job, report: Report) -> Outcome:
    """Run one trial in this process. The function that the driver sends to workers."""
    plugins.load(job.plugins)
    plugins.register_scores(job.task.metrics or ())
    from autotune.trial.run import run_trial

    return run_trial(job, report)
