"""Exports a study as an Optuna study in a database, for optuna-dashboard and Optuna's tools."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from autotune.analysis.front import value_of
from autotune.analysis.optuna_distributions import distribution
from autotune.analysis.snapshot import Snapshot
from autotune.domain import State, Study, Trial, Value
from autotune.domain.text import first_line, mask_passwords
from autotune.errors import StoreUnavailableError, UsageError

STATES: Mapping[State, TrialState] = {
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.INFEASIBLE: TrialState.FAIL,
    State.FAILED: TrialState.FAIL,
    State.INTERRUPTED: TrialState.FAIL,
}


def write_study(study: Study, trials: Sequence[Trial], url: str) -> int:
    """Create the Optuna study ``study.name`` at ``url``; return its number of finished trials.

    Levers of the space become parameters. Other settings, all metrics and the failure reason become
    user attributes. Raises :class:`UsageError` if there is a study of this name,
    :class:`StoreUnavailableError` if the database cannot be written.
    """
    finished = [trial for trial in trials if trial.state in STATES]
    distributions = {
        d.lever: distribution(d.domain, _tried_values(d.lever, finished))
        for d in study.space.dimensions
    }
    target = mask_passwords(url)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        _require_optuna_database(url)
        optuna_study = optuna.create_study(
            storage=url,
            study_name=study.name,
            directions=[objective.direction for objective in study.objectives],
        )
        with warnings.catch_warnings():  # naming objectives is experimental since 3.2
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna_study.set_metric_names([objective.metric for objective in study.objectives])
        snapshot = Snapshot(study, trials)
        optuna_study.add_trials(
            [_frozen_trial(snapshot, trial, distributions) for trial in finished]
        )
    except optuna.exceptions.DuplicatedStudyError as error:
        raise UsageError(
            f"{target} already has a study {study.name}", hint="name another database: --output URL"
        ) from error
    except (SQLAlchemyError, StorageInternalError, ImportError, ValueError) as error:
        raise StoreUnavailableError(
            f"cannot write an Optuna study to {target}: {mask_passwords(first_line(error), url)}",
            hint="give a SQLAlchemy URL such as sqlite:///optuna.db",
        ) from None
    finally:
        optuna.logging.set_verbosity(verbosity)
    return len(finished)


def _require_optuna_database(url: str) -> None:
    """Raise :class:`UsageError` for a database with tables of another program."""
    engine = create_engine(url)
    try:
        tables = set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "autotune_schema" in tables or (tables and "version_info" not in tables):
        raise UsageError(
            f"{mask_passwords(url)} has the tables of another program",
            hint="name a new database: --output sqlite:///optuna.db",
        )


def _tried_values(lever: str, trials: Sequence[Trial]) -> list[Value]:
    return [trial.strategy[lever] for trial in trials if lever in trial.strategy.values]


def _frozen_trial(
    snapshot: Snapshot, trial: Trial, distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    settings = trial.strategy.values
    values = [value_of(trial, objective.metric) for objective in snapshot.study.objectives]
    is_measured = trial.state is State.COMPLETE and None not in values
    state = STATES[trial.state]
    if trial.state is State.COMPLETE and not is_measured:
        state = TrialState.FAIL
    active = {lever: d for lever, d in distributions.items() if lever in settings}
    frozen_trial = create_trial(
        state=state,
        values=[value for value in values if value is not None] if is_measured else None,
        params={lever: settings[lever] for lever in active},
        distributions=active,
        user_attrs={
            "trial": trial.number,
            "origin": trial.origin,
            "verdict": snapshot.verdict_texts[trial.number],
            **({"reason": trial.reason} if trial.reason else {}),
            **{lever: value for lever, value in settings.items() if lever not in active},
            **trial.metrics,
        },
    )
    frozen_trial.datetime_start = _local_time(trial.started_at) or datetime.now()
    frozen_trial.datetime_complete = _local_time(trial.finished_at) or frozen_trial.datetime_start
    return frozen_trial


def _local_time(time: datetime | None) -> datetime | None:
    """``time`` as Optuna stores it: local, without a time zone."""
    return None if time is None else time.astimezone().replace(tzinfo=None)
