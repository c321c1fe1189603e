"""The difference between two trials or two studies."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotune.analysis.front import value_of
from autotune.analysis.snapshot import Snapshot
from autotune.domain import Study, Trial, Value
from autotune.domain.metrics import METRICS
from autotune.errors import UsageError


@dataclass(frozen=True)
class MetricDiff:
    """One metric of both sides. ``apart`` is true if the 95% intervals do not overlap and ``None``
    if one is unknown."""

    metric: str
    first: float | None
    second: float | None
    apart: bool | None

    @property
    def ratio(self) -> float | None:
        """Second over first."""
        if self.first is None or self.second is None or self.first == 0:
            return None
        return self.second / self.first


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
        tuple(_seed_notes(first, second)),
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
    return tuple(
        MetricDiff(name, value_of(first, name), value_of(second, name), _apart(first, second, name))
        for name in order
        if name in measured
    )


def _apart(first: Trial, second: Trial, metric: str) -> bool | None:
    measurements = [trial.result.measurements.get(metric) for trial in (first, second)]
    ends = [measurement.ci95 for measurement in measurements if measurement is not None]
    if len(ends) < 2 or ends[0] is None or ends[1] is None:
        return None
    return ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0]


def _seed_notes(first: Trial, second: Trial) -> list[str]:
    if first.seed == second.seed:
        return []
    return [f"the seeds differ: {first.seed} and {second.seed}"]
