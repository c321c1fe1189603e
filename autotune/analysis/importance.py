"""The importance of levers, their effect on a metric, and the interaction of two levers.

Effects are means over the trials of a study. A search does not sample all settings evenly, so they
show correlation, not causation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import direction_of, value_of
from autotune.analysis.text import format_value, value_sort_key
from autotune.domain import Categorical, Dimension, Direction, State, Study, Trial, Value
from autotune.domain.search_space import settings
from autotune.levers import has_effect

BINS = 5
"""Ranges into which a numeric lever with more than twice as many settings is divided."""
BOOTSTRAP_SAMPLES = 400
MAX_TRIALS = 1_000
"""Trials from which importance is computed at most."""
BEST_SHARE = 0.25
"""Share of the trials that count as good."""
MIN_TRIALS = 10
"""Trials below which importance is not computed."""


@dataclass(frozen=True)
class Effect:
    """The mean of a metric over the ``n`` trials with one setting, with its 95% interval
    (percentile bootstrap), ``None`` for a single trial."""

    setting: str
    mean: float
    ci95: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Cell:
    """The mean of a metric over the ``n`` trials with both settings."""

    first: str
    second: str
    mean: float
    n: int


def measured_trials(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Complete results that measured ``metric``."""
    return [
        trial
        for trial in trials
        if trial.state is State.COMPLETE and trial.is_result and value_of(trial, metric) is not None
    ]


def varied_levers(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Levers with at least two settings among ``trials``, in the order of the space."""
    names = [dimension.lever for dimension in study.space.dimensions]
    return [name for name in names if len({t.strategy.values.get(name) for t in trials}) > 1]


def setting_effects(study: Study, trials: Sequence[Trial], lever: str, metric: str) -> list[Effect]:
    """The mean of ``metric`` for each setting of ``lever``, in the order of the settings."""
    members = measured_trials(trials, metric)
    labels = setting_labels(study, members, lever)
    rng = np.random.default_rng(0)
    effects = []
    for setting in labels.order:
        values = np.array([t.metric(metric) for t in members if labels.label_of(t) == setting])
        if values.size:
            interval = _bootstrap_interval(values, rng)
            effects.append(Effect(setting, float(values.mean()), interval, values.size))
    return effects


def _bootstrap_interval(
    values: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float] | None:
    """95% interval of the mean by resampling the trials."""
    if values.size < 2:
        return None
    resamples = rng.integers(0, values.size, (BOOTSTRAP_SAMPLES, values.size))
    low, high = np.percentile(values[resamples].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def interaction(
    study: Study, trials: Sequence[Trial], first: str, second: str, metric: str
) -> list[Cell]:
    """The mean of ``metric`` for each pair of settings that was tried."""
    members = measured_trials(trials, metric)
    rows, columns = setting_labels(study, members, first), setting_labels(study, members, second)
    cells = []
    for row in rows.order:
        for column in columns.order:
            values = [
                float(trial.metric(metric) or 0.0)
                for trial in members
                if rows.label_of(trial) == row and columns.label_of(trial) == column
            ]
            if values:
                cells.append(Cell(row, column, sum(values) / len(values), len(values)))
    return cells


@dataclass(frozen=True)
class SettingLabels:
    """Labels of the settings of one lever in plots: ``label_of(trial)`` is one of ``order``."""

    order: tuple[str, ...]
    label_of: Callable[[Trial], str]


def setting_labels(study: Study, trials: Sequence[Trial], lever: str) -> SettingLabels:
    """One label per setting; a numeric lever with many settings is divided into :data:`BINS`
    quantile ranges."""
    tried = {trial.strategy.values[lever] for trial in trials if lever in trial.strategy.values}
    numbers = sorted(float(v) for v in tried if not isinstance(v, str | bool))
    if len(numbers) <= 2 * BINS:
        order = tuple(dict.fromkeys(format_value(v) for v in _in_order(study, lever, tried)))
        return SettingLabels(order, lambda t: format_value(t.strategy.values.get(lever, "?")))
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)))
    ranges = tuple(f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges))
    words = tuple(sorted(str(v) for v in tried if isinstance(v, str)))

    def label_of(trial: Trial) -> str:
        value = trial.strategy.values.get(lever, "?")
        if isinstance(value, str):
            return value
        index = int(np.searchsorted(edges, value, side="right")) - 1
        return ranges[min(max(index, 0), len(ranges) - 1)]

    return SettingLabels((*words, *ranges), label_of)


def _in_order(study: Study, lever: str, tried: set[Value]) -> list[Value]:
    """``tried`` in the order of the space, then the others; numbers by size."""
    domain = next((d.domain for d in study.space.dimensions if d.lever == lever), None)
    listed = (settings(domain) or ()) if domain is not None else ()
    if isinstance(domain, Categorical) and any(isinstance(v, str | bool) for v in listed):
        others = sorted(tried - set(listed), key=value_sort_key)
        return [*(value for value in listed if value in tried), *others]
    return sorted(tried, key=value_sort_key)


def lever_importance(study: Study, trials: Sequence[Trial], metric: str) -> dict[str, float]:
    """How much each lever matters for a good value of ``metric``, greatest first, adding up to 1.

    PED-ANOVA (Watanabe et al. 2023) by Optuna: by how much the settings of the best
    :data:`BEST_SHARE` of the trials differ from those of all, over at most :data:`MAX_TRIALS`
    trials evenly spaced over the search. Levers that have no effect on ``metric`` are left out.
    Empty with fewer than :data:`MIN_TRIALS` trials, or if no lever or no value varied.
    """
    members = measured_trials(trials, metric)
    names = [name for name in varied_levers(study, members) if has_effect(name, metric)]
    if len(members) < MIN_TRIALS or not names or len({t.metric(metric) for t in members}) < 2:
        return {}
    members = members[:: math.ceil(len(members) / MAX_TRIALS)]
    return _ped_anova(
        study, members, [d for d in study.space.dimensions if d.lever in names], metric
    )


def _ped_anova(
    study: Study, members: Sequence[Trial], dimensions: Sequence[Dimension], metric: str
) -> dict[str, float]:
    """Inactive levers have their default, so every trial has a value of every lever."""
    import optuna

    from autotune.analysis.optuna_distributions import distribution

    distributions = {}
    for dimension in dimensions:
        lever = dimension.lever
        tried = [t.strategy[lever] for t in members if lever in t.strategy.values]
        distributions[lever] = distribution(dimension.domain, tried, finite_as_categorical=True)
    optuna_trials = [
        optuna.trial.create_trial(
            params={name: trial.strategy.values[name] for name in distributions},
            distributions=distributions,
            value=trial.metric(metric),
        )
        for trial in members
        if distributions.keys() <= trial.strategy.values.keys()
    ]
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    shares = optuna.importance.get_param_importances(
        _optuna_study(optuna_trials, direction_of(study, metric)), evaluator=evaluator
    )
    return {name: float(share) for name, share in shares.items()}


def _optuna_study(optuna_trials: Sequence[Any], direction: Direction) -> Any:
    """An in-memory Optuna study, without the log message of ``create_study``."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    logger = logging.getLogger("optuna.storages._in_memory")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        storage.create_new_study([optuna.study.StudyDirection[direction.upper()]], "levers")
    finally:
        logger.disabled = was_disabled
    study = optuna.load_study(study_name="levers", storage=storage)
    study.add_trials(optuna_trials)
    return study
