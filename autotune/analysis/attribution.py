"""Where the gain of a strategy comes from: the path from the default to it, one lever at a time.

A search changes many levers at once, so single factors are not measured. They are estimated by a
:class:`~autotune.analysis.lever_model.LeverModel` of all trials, on a logarithmic scale where
factors are meant: the factors of the path multiply to the total, and differences of scores add up
to it. The order of the path does not matter, since a contribution is the mean over all orders. The
steps are sorted by the size of their contribution to the first objective, then to the next.

Levers that the trials cannot tell apart, as they were always changed together, share a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import superseded_trials, value_of
from autotune.analysis.lever_model import LeverModel
from autotune.analysis.text import format_ratio, format_value, metric_label
from autotune.domain import Phase, State, Study, Trial, Value
from autotune.domain.metrics import MetricKind, get_metric
from autotune.levers import has_effect
from autotune.measure.statistics import t_quantile

MIN_TRIALS = 3
MAX_TRIALS = 150
"""Trials to which a model is fitted at most."""
MAX_STEPS = 8
"""Steps of a path at most; the smallest are joined."""
MAX_NAMED_LEVERS = 3
"""A step with more levers is named by their number."""
JOINT_PRECISION = 3.0
"""Up to :data:`MAX_NAMED_LEVERS` levers share a step if their joint contribution is known this many
times as precisely as that of each of them."""

Z95_WIDTH = 2 * 1.959964
"""Width of a 95% interval in standard deviations."""
DIFFERENCE_KINDS = (MetricKind.SHARE, MetricKind.CORRELATION, MetricKind.LOSS)
"""Metrics whose contributions are differences; of all others they are factors."""


@dataclass(frozen=True)
class Contribution:
    """A factor or a difference of ``metric`` with its 95% interval."""

    metric: str
    value: float
    ci95: tuple[float, float]

    @property
    def is_factor(self) -> bool:
        return has_factors(self.metric)

    @property
    def neutral(self) -> float:
        """The value that changes nothing."""
        return 1.0 if self.is_factor else 0.0

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes that nothing changes."""
        return not self.ci95[0] <= self.neutral <= self.ci95[1]

    def __str__(self) -> str:
        """``1.7x`` or ``-0.3 points``"""
        return f"{self._format(self.value)}{self._unit}"

    @property
    def interval(self) -> str:
        """``1.5x to 1.9x`` or ``-0.8 to +0.2 points``"""
        return f"{' to '.join(map(self._format, self.ci95))}{self._unit}"

    def _format(self, value: float) -> str:
        if self.is_factor:
            return format_ratio(value)
        is_share = get_metric(self.metric).kind is MetricKind.SHARE
        return f"{100 * value:+.1f}" if is_share else f"{value:+.3g}"

    @property
    def _unit(self) -> str:
        """Scores that are no shares have no unit."""
        return " points" if get_metric(self.metric).kind is MetricKind.SHARE else ""


@dataclass(frozen=True)
class Step:
    """Levers that are switched together to their ``settings``, and what that contributes to each
    metric on which they have an effect."""

    settings: Mapping[str, Value]
    contributions: Mapping[str, Contribution]

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
    totals: Mapping[str, Contribution]
    trials: Mapping[str, int]


def path_sentence(attribution: Attribution) -> str:
    """The path in one line: the largest steps of the first objective, the joint factor of the
    others, and the totals of scores: ``padding bucketed 1.7x, precision bf16 1.4x, 3 other levers
    1.1x; accuracy -0.3 points``."""
    metric, total = next(iter(attribution.totals.items()))
    steps = [step for step in attribution.steps if metric in step.contributions]
    named = [s for s in steps if s.contributions[metric].is_certain][:MAX_NAMED_LEVERS]
    named = named or steps[:1]
    parts = [f"{step} {step.contributions[metric]}" for step in named]
    others = [step for step in steps if step not in named]
    if others:
        count = sum(len(step.settings) for step in others)
        rest = replace(total, value=_without(total, [s.contributions[metric] for s in named]))
        parts.append(f"{count} other lever{'s' * (count > 1)} {rest}")
    scores = [
        f"{metric_label(name)} {contribution}"
        for name, contribution in attribution.totals.items()
        if name != metric and not contribution.is_factor
    ]
    return "; ".join([", ".join(parts), *scores])


def _without(total: Contribution, parts: Sequence[Contribution]) -> float:
    """``total`` without ``parts``."""
    if total.is_factor:
        return total.value / math.prod(part.value for part in parts)
    return total.value - sum(part.value for part in parts)


def has_factors(metric: str) -> bool:
    """Whether contributions to ``metric`` are factors, not differences."""
    return get_metric(metric).kind not in DIFFERENCE_KINDS


def attribute(study: Study, trials: Sequence[Trial], trial: Trial) -> Attribution | None:
    """The path from the default of ``study`` to the strategy of ``trial``, for the objectives.

    ``None`` for the default itself, and where too few trials measured an objective.
    """
    posteriors = {}
    for objective in study.objectives:
        posterior = _posterior(study, trials, trial, objective.metric)
        if posterior is not None:
            posteriors[objective.metric] = posterior
    levers = list(dict.fromkeys(lever for p in posteriors.values() for lever in p.levers))
    if not levers:
        return None
    groups = _join_small_steps(_inseparable_groups(levers, posteriors.values()), posteriors)
    steps = [
        Step(
            {lever: trial.strategy[lever] for lever in group},
            {m: p.contribution(m, group) for m, p in posteriors.items() if p.depends_on(group)},
        )
        for group in groups
    ]
    return Attribution(
        trial,
        steps,
        {metric: p.contribution(metric, p.levers) for metric, p in posteriors.items()},
        {metric: p.trials for metric, p in posteriors.items()},
    )


@dataclass(frozen=True)
class _Posterior:
    """The normal posterior of the contributions of ``levers`` to one metric, on the logarithmic
    scale of factors or the linear scale of differences. ``trials`` were used for it."""

    levers: tuple[str, ...]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    trials: int

    def depends_on(self, group: Sequence[str]) -> bool:
        return any(lever in self.levers for lever in group)

    def moments(self, group: Sequence[str]) -> tuple[float, float]:
        """Mean and standard deviation of the joint contribution of ``group``."""
        rows = [self.levers.index(lever) for lever in group if lever in self.levers]
        variance = self.covariance[np.ix_(rows, rows)].sum()
        return float(self.mean[rows].sum()), math.sqrt(max(float(variance), 0.0))

    def contribution(self, metric: str, group: Sequence[str]) -> Contribution:
        mean, deviation = self.moments(group)
        width = t_quantile(self.trials - 1) * deviation
        ends = (mean, mean - width, mean + width)
        value, low, high = map(math.exp, ends) if has_factors(metric) else ends
        return Contribution(metric, value, (low, high))


def _posterior(
    study: Study, trials: Sequence[Trial], trial: Trial, metric: str
) -> _Posterior | None:
    members = _members(study, trials, trial, metric)
    base = {**study.space.defaults, **study.baseline.values}
    rows = [{**base, **member.strategy.values} for member in members]
    target = {**base, **trial.strategy.values}
    phase = get_metric(metric).phase
    levers = [
        lever
        for lever in target
        if has_effect(lever, phase) and any(row.get(lever) != base.get(lever) for row in rows)
    ]
    changed = [lever for lever in levers if target[lever] != base.get(lever)]
    if len(members) < MIN_TRIALS or not changed:
        return None
    values = np.array([float(member.metric(metric) or 0.0) for member in members])
    noise = np.array([_variance(member, metric) for member in members])
    model = LeverModel(levers, rows, np.log(values) if has_factors(metric) else values, noise)
    contributions = model.contributions(base, target)
    index = [levers.index(lever) for lever in changed]
    return _Posterior(
        tuple(changed),
        contributions.mean[index],
        contributions.covariance[np.ix_(index, index)],
        len(members),
    )


def _members(study: Study, trials: Sequence[Trial], trial: Trial, metric: str) -> list[Trial]:
    """The trials that measured ``metric`` themselves, at most :data:`MAX_TRIALS`: the default,
    ``trial``, and others evenly spaced over the search. The profile phase of a trial that was
    stopped later counts."""
    superseded = superseded_trials(trials)
    states = (State.COMPLETE, State.PRUNED)
    is_profile = get_metric(metric).phase is Phase.PROFILE
    measured: dict[tuple[float, str], Trial] = {}
    for member in trials:
        value = value_of(member, metric)
        is_valid = value is not None and (value > 0 or not has_factors(metric))
        in_state = member.state in (states if is_profile else states[:1])
        if is_valid and in_state and member.is_result and member.number not in superseded:
            # A reused measurement is one of another trial, and tells nothing new of a setting.
            measured.setdefault(_measurement_key(member, metric), member)
    members = list(measured.values())
    own = (trial.strategy.key, study.baseline.key)
    required = [member for member in members if member.strategy.key in own]
    others = [member for member in members if member.strategy.key not in own]
    step = math.ceil(len(others) / MAX_TRIALS) or 1
    return sorted([*required, *others[::step]], key=lambda member: member.number)


def _measurement_key(trial: Trial, metric: str) -> tuple[float, str]:
    """Equal for trials that share a measurement because they differ in other levers only."""
    phase = get_metric(metric).phase
    settings = [
        f"{lever}={value!r}"
        for lever, value in trial.strategy.values.items()
        if has_effect(lever, phase)
    ]
    return float(trial.metric(metric) or 0.0), "\n".join(settings)


def _variance(trial: Trial, metric: str) -> float:
    """The known variance of a measurement; of a factor that of its logarithm, approximately."""
    measurement = trial.result.measurements[metric]
    if measurement.ci95 is None:
        return 0.0
    deviation = (measurement.ci95[1] - measurement.ci95[0]) / Z95_WIDTH
    return float((deviation / measurement.value if has_factors(metric) else deviation) ** 2)


# ---------------------------------------------------------------------------------------- steps


def _inseparable_groups(
    levers: Sequence[str], posteriors: Iterable[_Posterior]
) -> list[tuple[str, ...]]:
    """``levers`` in groups that the trials can tell apart."""
    groups: list[tuple[str, ...]] = [(lever,) for lever in levers]
    for posterior in posteriors:
        while (joint := _inseparable(groups, posterior)) is not None:
            merged = tuple(lever for lever in levers if any(lever in group for group in joint))
            groups = [merged if group == joint[0] else group
                      for group in groups if group not in joint[1:]]  # fmt: skip
    return groups


def _inseparable(
    groups: Sequence[tuple[str, ...]], posterior: _Posterior
) -> list[tuple[str, ...]] | None:
    """Groups whose joint contribution is known more precisely than that of each. Found by adding to
    each group the one that reduces the variance of their sum the most, until it is small."""
    members = [group for group in groups if posterior.depends_on(group)]

    def deviation(*joint: tuple[str, ...]) -> float:
        return posterior.moments([lever for group in joint for lever in group])[1]

    for first in sorted(members, key=deviation, reverse=True):
        joint = [first]
        while len(joint) < min(len(members), MAX_NAMED_LEVERS):
            rest = [group for group in members if group not in joint]
            joint.append(min(rest, key=lambda group: deviation(*joint, group)))
            if JOINT_PRECISION * deviation(*joint) < min(map(deviation, joint)):
                return sorted(joint, key=groups.index)
    return None


def _join_small_steps(
    groups: Sequence[tuple[str, ...]], posteriors: Mapping[str, _Posterior]
) -> list[tuple[str, ...]]:
    """``groups`` by the size of their contribution, the smallest joined into one."""

    def size(group: tuple[str, ...]) -> tuple[float, ...]:
        return tuple(-abs(p.moments(group)[0]) if p.depends_on(group) else 0.0
                     for p in posteriors.values())  # fmt: skip

    ordered = sorted(groups, key=size)
    if len(ordered) <= MAX_STEPS:
        return ordered
    rest = tuple(lever for group in ordered[MAX_STEPS - 1 :] for lever in group)
    return [*ordered[: MAX_STEPS - 1], rest]
