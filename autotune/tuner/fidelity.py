"""On how many samples trials train, where the study file leaves it to the budget
(``task.train_samples: auto``).

The number is the same for all trials, the default included. It is chosen once, from a profile of
the default, and stored with the study, so that a continued study has the same.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autotune.analysis.plan import affordable_samples
from autotune.domain import Study
from autotune.ports import Executor, Store
from autotune.tuner.probe import profile_default


def adopt_samples(store: Store, study: Study) -> Study:
    """``study`` with the number that was chosen when it was stored, if it was."""
    if not study.has_auto_samples or study.name not in store.studies():
        return study
    samples = store.study(study.name).task.train_samples
    return replace(study, task=replace(study.task, train_samples=samples))


def choose_samples(
    study: Study, executor: Executor, directory: Path
) -> tuple[Study, tuple[str, ...]]:
    """``study`` with a number of samples, and notes for the user. The default is profiled, with its
    files below ``directory``, unless the number is known.

    :raises AutotuneError: the default cannot run.
    """
    if not study.has_auto_samples or study.task.train_samples is not None:
        return study, ()
    profile = profile_default(study, executor, directory / study.name / "profile")
    samples = affordable_samples(
        study, profile.seconds, profile.training_seconds, profile.train_samples
    )
    note = (
        f"trials train on {samples:,} of {profile.train_samples:,} samples, which were chosen for "
        f"a budget of {study.budget.minutes:g} minutes"
    )
    return replace(study, task=replace(study.task, train_samples=samples)), (note,)
