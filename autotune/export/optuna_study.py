"""Exports a study as an Optuna study in a database, for optuna-dashboard and Optuna's tools."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from autotune.analysis.front import value_of
from autotune.analysis.optuna_distributions import distribution
from autotune.analysis.snapshot import Snapshot
from autotune.domain import State, Study, Trial, Value
from autotune.errors import StoreUnavailableError, UsageError

STATES: Mapping[State, TrialState] = {
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.INFEASIBLE: TrialState.FAIL,
    State.FAILED: TrialState.FAIL,
    State.INTERRUPTED: TrialState.FAIL,
}


def write_study(study: Study, trials: Sequence[Trial], url: str) -> int:
    """Create the Optuna study ``study.name`` at ``url`` with all finished trials; returns how many.

    Levers of the space become parameters; other settings, all metrics and the reason of a trial
    that did not complete become user attributes. Raises :class:`UsageError` where a study of this
    name is there, :class:`StoreUnavailableError` where the database cannot be written.
    """
    finished = [trial for trial in trials if trial.state in STATES]
    distributions = {
        d.lever: distribution(d.domain, _tried_values(d.lever, finished))
        for d in study.space.dimensions
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        made = optuna.create_study(
            storage=url,
            study_name=study.name,
            directions=[objective.direction for objective in study.objectives],
        )
        with warnings.catch_warnings():  # naming objectives is experimental since 3.2
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made.set_metric_names([objective.metric for objective in study.objectives])
        snapshot = Snapshot(study, trials)
        made.add_trials([_frozen(snapshot, trial, distributions) for trial in finished])
    except optuna.exceptions.DuplicatedStudyError as error:
        raise UsageError(
            f"{url} has a study {study.name} already", hint="name another database: --output URL"
        ) from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ValueError) as error:
        raise StoreUnavailableError(
            f"cannot write an Optuna study to {url}: {str(error).splitlines()[0]}",
            hint="give a SQLAlchemy URL such as sqlite:///optuna.db",
        ) from error
    finally:
        optuna.logging.set_verbosity(verbosity)
    return len(finished)


def _tried_values(lever: str, trials: Sequence[Trial]) -> list[Value]:
    return [trial.strategy[lever] for trial in trials if lever in trial.strategy.values]


def _frozen(
    snapshot: Snapshot, trial: Trial, distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    settings = trial.strategy.values
    values = [value_of(trial, objective.metric) for objective in snapshot.study.objectives]
    whole = trial.state is State.COMPLETE and None not in values
    state = STATES[trial.state] if whole or trial.state is not State.COMPLETE else TrialState.FAIL
    known = {lever: d for lever, d in distributions.items() if lever in settings}
    frozen = create_trial(
        state=state,
        values=[value for value in values if value is not None] if whole else None,
        params={lever: settings[lever] for lever in known},
        distributions=known,
        user_attrs={
            "trial": trial.number,
            "origin": trial.origin,
            "verdict": snapshot.verdicts[trial.number].value,
            **({"reason": trial.reason} if trial.reason else {}),
            **{lever: value for lever, value in settings.items() if lever not in known},
            **trial.metrics,
        },
    )
    frozen.datetime_start = _local(trial.started_at) or datetime.now()
    frozen.datetime_complete = _local(trial.finished_at) or frozen.datetime_start
    return frozen


def _local(at: datetime | None) -> datetime | None:
    """Optuna keeps local times without their zone."""
    return None if at is None else at.astimezone().replace(tzinfo=None)
