"""What each lever does: its importance, its effect on a metric, how two of them interact.

Effects are plain means over the trials of the study. A search does not try all settings alike, so
they say what went with a setting, not what it alone would cause; intervals show how sure they are.
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

from autotune.analysis.front import value_of
from autotune.analysis.text import format_value
from autotune.domain import (
    Categorical,
    Dimension,
    Range,
    State,
    Study,
    Trial,
    Value,
)
from autotune.domain.search_space import contains, settings

BINS = 5
"""A lever with more settings than twice this is shown in this many ranges."""
BOOTSTRAP_SAMPLES = 400
MAX_TRIALS = 250
TREES = 32
MIN_TRIALS = 10


@dataclass(frozen=True)
class Effect:
    """The mean of a metric over the ``n`` trials of one setting, with its 95% interval
    (percentile bootstrap), ``None`` for a single trial."""

    setting: str
    mean: float
    ci95: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Cell:
    """The mean of a metric over the ``n`` trials with two settings at once."""

    first: str
    second: str
    mean: float
    n: int


def measured_trials(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Complete trials of the search that know ``metric``."""
    return [
        trial
        for trial in trials
        if trial.state is State.COMPLETE and trial.is_result and value_of(trial, metric) is not None
    ]


def varied_levers(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Levers of which at least two settings were tried, in the order of the space."""
    names = [dimension.lever for dimension in study.space.dimensions]
    return [name for name in names if len({t.strategy.values.get(name) for t in trials}) > 1]


def setting_effects(study: Study, trials: Sequence[Trial], lever: str, metric: str) -> list[Effect]:
    """The mean of ``metric`` for each setting of ``lever``, in order of the settings."""
    members = measured_trials(trials, metric)
    label = setting_labels(study, members, lever)
    rng = np.random.default_rng(0)
    found = []
    for setting in label.order:
        values = np.array([t.metric(metric) for t in members if label.label_of(t) == setting])
        if values.size:
            interval = _interval(values, rng)
            found.append(Effect(setting, float(values.mean()), interval, values.size))
    return found


def _interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float] | None:
    if values.size < 2:
        return None
    picks = rng.integers(0, values.size, (BOOTSTRAP_SAMPLES, values.size))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def interaction(
    study: Study, trials: Sequence[Trial], first: str, second: str, metric: str
) -> list[Cell]:
    """The mean of ``metric`` for each pair of settings that was tried."""
    members = measured_trials(trials, metric)
    rows, columns = setting_labels(study, members, first), setting_labels(study, members, second)
    found = []
    for row in rows.order:
        for column in columns.order:
            values = [
                float(t.metric(metric) or 0.0)
                for t in members
                if rows.label_of(t) == row and columns.label_of(t) == column
            ]
            if values:
                found.append(Cell(row, column, sum(values) / len(values), len(values)))
    return found


@dataclass(frozen=True)
class SettingLabels:
    """How the settings of one lever are named in plots: ``of(trial)`` is one of ``order``."""

    order: tuple[str, ...]
    label_of: Callable[[Trial], str]


def setting_labels(study: Study, trials: Sequence[Trial], lever: str) -> SettingLabels:
    """Settings by name; a numeric lever with many settings falls into :data:`BINS` ranges."""
    tried = {trial.strategy.values[lever] for trial in trials if lever in trial.strategy.values}
    numbers = sorted(float(v) for v in tried if not isinstance(v, str | bool))
    if len(numbers) <= 2 * BINS:
        order = tuple(dict.fromkeys(format_value(v) for v in _ordered(study, lever, tried)))
        return SettingLabels(order, lambda t: format_value(t.strategy.values.get(lever, "?")))
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)))
    names = tuple(f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges))
    words = tuple(sorted(str(v) for v in tried if isinstance(v, str)))

    def named(trial: Trial) -> str:
        value = trial.strategy.values.get(lever, "?")
        if isinstance(value, str):
            return value
        place = int(np.searchsorted(edges, value, side="right")) - 1
        return names[min(max(place, 0), len(names) - 1)]

    return SettingLabels((*words, *names), named)


def _ordered(study: Study, lever: str, tried: set[Value]) -> list[Value]:
    """Settings in the order of the space, then the rest, numbers by size."""
    domain = next((d.domain for d in study.space.dimensions if d.lever == lever), None)
    listed = (settings(domain) or ()) if domain is not None else ()
    if isinstance(domain, Categorical) and any(isinstance(v, str | bool) for v in listed):
        return [*(v for v in listed if v in tried), *sorted(tried - set(listed), key=_rank)]
    return sorted(tried, key=_rank)


def _rank(value: Value) -> tuple[bool, float, str]:
    text = isinstance(value, str)
    return (text, 0.0 if isinstance(value, str) else float(value), str(value))


def lever_importance(study: Study, trials: Sequence[Trial], metric: str) -> dict[str, float]:
    """Shares (adding up to 1, greatest first) of each lever in how ``metric`` varies.

    fANOVA (Hutter et al. 2014) by Optuna, over at most :data:`MOST_TRIALS` trials spread evenly
    over the search. Empty with fewer than :data:`FEWEST_TRIALS` trials, or where no lever or no
    value varied.
    """
    members = measured_trials(trials, metric)
    names = varied_levers(study, members)
    if len(members) < MIN_TRIALS or not names or len({t.metric(metric) for t in members}) < 2:
        return {}
    members = members[:: math.ceil(len(members) / MAX_TRIALS)]
    return _fanova(members, [d for d in study.space.dimensions if d.lever in names], metric)


def _fanova(
    members: Sequence[Trial], dimensions: Sequence[Dimension], metric: str
) -> dict[str, float]:
    """Switched-off levers stand at their default, so every trial has a value for every lever."""
    import optuna

    distributions = {d.lever: _distribution(d, members) for d in dimensions}
    finished = [
        optuna.trial.create_trial(
            params={name: trial.strategy.values[name] for name in distributions},
            distributions=distributions,
            value=trial.metric(metric),
        )
        for trial in members
        if distributions.keys() <= trial.strategy.values.keys()
    ]
    memory = _study_of(finished)
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    shares = optuna.importance.get_param_importances(memory, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def _study_of(finished: Sequence[Any]) -> Any:
    """An Optuna study in memory, made without the line that ``create_study`` logs."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    logger = logging.getLogger("optuna.storages._in_memory")
    heard, logger.disabled = logger.disabled, True
    try:
        storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "levers")
    finally:
        logger.disabled = heard
    memory = optuna.load_study(study_name="levers", storage=storage)
    memory.add_trials(finished)
    return memory


def _distribution(dimension: Dimension, members: Sequence[Trial]) -> Any:
    """The lever's range, or all settings tried where some lie outside of it."""
    import optuna

    domain = dimension.domain
    tried = {t.strategy.values[dimension.lever] for t in members if dimension.lever in t.strategy}
    inside = all(contains(domain, value) for value in tried)
    if isinstance(domain, Range) and settings(domain) is None and inside:
        return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
    choices = [*dict.fromkeys([*(settings(domain) or ()), *sorted(tried, key=_rank)])]
    return optuna.distributions.CategoricalDistribution(choices)
