"""Where the gain of a strategy comes from: the path from the default to it, one lever at a time.

A search changes many levers at once, so single factors are not measured. They are estimated by a
:class:`~autotune.analysis.lever_model.LeverModel` of all trials, on a logarithmic scale where
factors are meant: the factors of the path multiply to the total, and differences of scores add up
to it. The totals are those of the :class:`~autotune.analysis.posterior.Posterior` of the study,
which all texts state. The order of the path does not matter, since a contribution is the mean over
all orders; the steps are sorted by the size of their contribution to the first objective, then to
the next.

Levers that always changed together share a step, since the trials cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.analysis.comparison_text import describe_contribution, describe_factor
from autotune.analysis.metric_path import MetricPath, metric_path
from autotune.analysis.metric_posterior import Comparison
from autotune.analysis.posterior import Posterior
from autotune.analysis.text import format_value, metric_label
from autotune.domain import Study, Trial, Value

METHOD_NOTE = (
    "Estimated from all trials with 95% intervals, since they changed several levers at once: the "
    "mean over all orders of the path from the default."
)
MAX_STEPS = 8
"""Steps of a path at most; the smallest are joined."""
MAX_NAMED_LEVERS = 3
"""A step with more levers is named by their number."""


@dataclass(frozen=True)
class Step:
    """Levers that are switched together to their ``settings``, and what that contributes to each
    metric on which they have an effect."""

    settings: Mapping[str, Value]
    contributions: Mapping[str, Comparison]

    def __str__(self) -> str:
        if len(self.settings) > MAX_NAMED_LEVERS:
            return f"{len(self.settings)} other levers"
        return ", ".join(f"{lever} {format_value(v)}" for lever, v in self.settings.items())


@dataclass(frozen=True)
class Attribution:
    """The path from the default to ``trial``: ``steps``, the ``totals`` by metric, and the number
    of ``trials`` to which the model of each metric was fitted."""

    trial: Trial
    steps: Sequence[Step]
    totals: Mapping[str, Comparison]
    trials: Mapping[str, int]


def attribute(
    study: Study, trials: Sequence[Trial], trial: Trial, posterior: Posterior | None = None
) -> Attribution | None:
    """The path from the default of ``study`` to the strategy of ``trial``, for the objectives.

    ``None`` for the default itself, and where too few trials measured an objective.
    """
    posterior = posterior or Posterior(study, trials)
    paths = {}
    for objective in study.objectives:
        total = posterior.compare(trial, objective.metric)
        path = None if total is None else metric_path(study, trials, trial, total)
        if path is not None:
            paths[objective.metric] = path
    levers = list(dict.fromkeys(lever for path in paths.values() for lever in path.levers))
    if not levers:
        return None
    groups = _coupled_groups(levers, trials)
    steps = [
        Step(
            {lever: trial.strategy[lever] for lever in group},
            {m: path.contribution(group) for m, path in paths.items() if path.depends_on(group)},
        )
        for group in _join_small_groups(groups, paths.values())
    ]
    totals = {metric: path.total for metric, path in paths.items()}
    return Attribution(trial, steps, totals, {m: path.trials for m, path in paths.items()})


def path_record(attribution: Attribution | None) -> dict[str, Any] | None:
    """The path as ``autotune show --json`` prints it: for each step the settings of its levers and
    its contributions by metric, then the totals and the number of trials of each metric. A
    contribution is a ``factor`` or a ``difference``."""
    if attribution is None:
        return None
    return {
        "steps": [
            {"settings": dict(step.settings), "contributions": _records(step.contributions)}
            for step in attribution.steps
        ],
        "total": _records(attribution.totals),
        "trials": dict(attribution.trials),
    }


def _records(contributions: Mapping[str, Comparison]) -> dict[str, Any]:
    return {
        metric: {"factor" if c.is_ratio else "difference": c.value, "ci95": list(c.ci95)}
        for metric, c in contributions.items()
    }


def path_table(attribution: Attribution) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text: a row for each step, the total last, a column for each objective
    with intervals: ``1.7x (1.5x to 1.9x)``."""
    metrics = list(attribution.totals)
    steps = [(str(step), step.contributions) for step in attribution.steps]
    rows = [
        [name, *(describe_contribution(c) if (c := own.get(m)) else "" for m in metrics)]
        for name, own in [*steps, ("together", attribution.totals)]
    ]
    return ["lever", *map(metric_label, metrics)], rows


def path_sentence(attribution: Attribution) -> str:
    """The path in one line: the largest steps of the first objective, the number of other levers,
    and the totals: ``padding bucketed 1.7x (1.5x to 1.9x) and 3 other levers, together 2.4x (2.1x
    to 2.7x); accuracy -0.3 points (-0.8 to +0.2)``."""
    metric, total = next(iter(attribution.totals.items()))
    steps = [step for step in attribution.steps if metric in step.contributions]
    named = [s for s in steps if s.contributions[metric].is_clear][:MAX_NAMED_LEVERS] or steps[:1]
    path = ", ".join(f"{step} {describe_factor(step.contributions[metric])}" for step in named)
    if count := sum(len(step.settings) for step in steps if step not in named):
        path += f" and {count} other lever{'s' * (count > 1)}, together {describe_factor(total)}"
    scores = [
        f"{metric_label(name)} {describe_factor(other)}"
        for name, other in attribution.totals.items()
        if name != metric and not other.is_ratio
    ]
    return "; ".join([path, *scores])


# ---------------------------------------------------------------------------------------- steps


def _coupled_groups(levers: Sequence[str], trials: Sequence[Trial]) -> list[tuple[str, ...]]:
    """``levers`` in groups that always changed together in ``trials``: the setting of one says
    those of the others. Levers that rarely have the same setting twice are not grouped: trials with
    similar settings tell them apart."""
    groups: dict[object, list[str]] = {}
    strategies = [trial.strategy.values for trial in trials if trial.is_result and trial.metrics]
    for lever in levers:
        numbers: dict[str, int] = {}  # of the settings, in the order of their first use
        pattern = tuple(
            numbers.setdefault(repr(values.get(lever)), len(numbers)) for values in strategies
        )
        is_repeated = len(numbers) <= max(2, len(strategies) // 2)
        groups.setdefault(pattern if is_repeated else lever, []).append(lever)
    return [tuple(group) for group in groups.values()]


def _join_small_groups(
    groups: Sequence[tuple[str, ...]], paths: Collection[MetricPath]
) -> list[tuple[str, ...]]:
    """``groups`` by the size of their contribution, the smallest joined into one."""
    sizes = {
        group: [-abs(path.moments(group)[0]) if path.depends_on(group) else 0.0 for path in paths]
        for group in groups
    }
    ordered = sorted(groups, key=sizes.__getitem__)
    if len(ordered) <= MAX_STEPS:
        return ordered
    rest = tuple(lever for group in ordered[MAX_STEPS - 1 :] for lever in group)
    return [*ordered[: MAX_STEPS - 1], rest]
