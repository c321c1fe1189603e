"""The difference between two trials or two studies."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotune.analysis.drift import has_drifted, relative_correction, relative_ratio
from autotune.analysis.front import value_of
from autotune.analysis.intervals import Interval, figure_interval
from autotune.analysis.snapshot import Snapshot
from autotune.domain import Study, Trial, Value
from autotune.domain.metrics import METRICS
from autotune.errors import UsageError


@dataclass(frozen=True)
class MetricDiff:
    """One metric of both sides with its 95% intervals, or why it has none.

    ``ratio`` is second over first, of speeds and times relative to the reference workload.
    ``apart`` is true if the intervals do not overlap and ``None`` if one is unknown.
    """

    metric: str
    first: float | None
    second: float | None
    apart: bool | None
    ratio: float | None = None
    first_ci95: tuple[float, float] | None = None
    second_ci95: tuple[float, float] | None = None
    why_no_interval: str | None = None


@dataclass(frozen=True)
class Difference:
    """``settings`` are the levers that differ (of studies: between their knees), ``figures`` the
    metrics of both sides, ``notes`` what else differs."""

    first: str
    second: str
    settings: dict[str, tuple[Value | None, Value | None]]
    figures: tuple[MetricDiff, ...]
    notes: tuple[str, ...] = field(default=())


def compare_trials(study: Study, first: Trial, second: Trial) -> Difference:
    """Two trials of one study. Levers that were added after a trial had their defaults in it."""
    strategy, other = (study.baseline.with_values(**t.strategy.values) for t in (first, second))
    return Difference(
        f"trial {first.number}",
        f"trial {second.number}",
        strategy.differences(other),
        _figures(study, first, second),
        (*_seed_notes(first, second), *_drift_notes(first, second)),
    )


def compare_studies(first: Snapshot, second: Snapshot) -> Difference:
    """Two studies by their knees. Raises :class:`UsageError` if one has no front."""
    if first.knee is None or second.knee is None:
        name = first.study.name if first.knee is None else second.study.name
        raise UsageError(f"study {name} has no front yet", hint=f"autotune status {name}")
    notes = [
        f"fronts: {len(first.front)} strategies of {len(first.trials)} trials, and "
        f"{len(second.front)} of {len(second.trials)}"
    ]
    if first.study.task != second.study.task:
        notes.append("the tasks differ: their scores cannot be compared")
    return Difference(
        f"{first.study.name}, knee {first.knee.number}",
        f"{second.study.name}, knee {second.knee.number}",
        first.knee.strategy.differences(second.knee.strategy),
        _figures(first.study, first.knee, second.knee),
        tuple(notes),
    )


def _figures(study: Study, first: Trial, second: Trial) -> tuple[MetricDiff, ...]:
    measured = {*first.result.measurements, *second.result.measurements}
    objectives = [objective.metric for objective in study.objectives]
    order = [*objectives, *(name for name in METRICS if name not in objectives)]
    return tuple(_metric_diff(name, first, second) for name in order if name in measured)


def _metric_diff(metric: str, first: Trial, second: Trial) -> MetricDiff:
    sides = [
        figure_interval(trial, metric)
        if metric in trial.result.measurements
        else Interval(None, f"not measured in trial {trial.number}")
        for trial in (first, second)
    ]
    ends = [side.ci95 for side in sides]
    apart = None
    if ends[0] is not None and ends[1] is not None:
        correction = relative_correction(metric, second, first)
        low, high = (correction * end for end in ends[1])
        apart = ends[0][1] < low or high < ends[0][0]
    return MetricDiff(
        metric,
        value_of(first, metric),
        value_of(second, metric),
        apart,
        relative_ratio(metric, second, first),
        first_ci95=ends[0],
        second_ci95=ends[1],
        why_no_interval=next((side.reason for side in sides if side.reason), None),
    )


def _drift_notes(first: Trial, second: Trial) -> list[str]:
    if not has_drifted(second, first):
        return []
    return ["the machine was not equally fast: ratios are relative to the reference workload"]


def _seed_notes(first: Trial, second: Trial) -> list[str]:
    if first.seed == second.seed:
        return []
    return [f"the seeds differ: {first.seed} and {second.seed}"]
