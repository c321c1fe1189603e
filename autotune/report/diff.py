"""``autotune diff``: two trials, or two studies, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from autotune.analysis.front import value_of
from autotune.analysis.snapshot import Snapshot
from autotune.domain import Study, Trial, Value
from autotune.domain.metrics import METRICS
from autotune.errors import UsageError


@dataclass(frozen=True)
class MetricDiff:
    """One metric on both sides. ``apart`` is whether the 95% intervals do not overlap, ``None``
    where one is unknown."""

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
    """``settings`` holds the levers set differently (for studies: by their knees), ``figures`` the
    metrics of both, ``notes`` what a reader must know to compare them."""

    first: str
    second: str
    settings: dict[str, tuple[Value | None, Value | None]]
    figures: tuple[MetricDiff, ...]
    notes: tuple[str, ...] = field(default=())


def compare_trials(study: Study, first: Trial, second: Trial) -> Difference:
    """Two trials of one study."""
    return Difference(
        f"trial {first.number}",
        f"trial {second.number}",
        first.strategy.differences(second.strategy),
        _figures(study, first, second),
        tuple(_same_seed(first, second)),
    )


def compare_studies(
    study: Study, trials: Sequence[Trial], other: Study, others: Sequence[Trial]
) -> Difference:
    """Two studies, by their knees and what makes them differ. Raises :class:`UsageError` where one
    has no front."""
    here, there = Snapshot(study, trials), Snapshot(other, others)
    if here.knee is None or there.knee is None:
        empty = study.name if here.knee is None else other.name
        raise UsageError(f"study {empty} has no front yet", hint=f"autotune status {empty}")
    notes = [
        f"fronts: {len(here.front)} strategies of {len(trials)} trials, and "
        f"{len(there.front)} of {len(others)}"
    ]
    if study.task != other.task:
        notes.append("the tasks differ: scores are not of the same thing")
    return Difference(
        f"{study.name}, knee {here.knee.number}",
        f"{other.name}, knee {there.knee.number}",
        here.knee.strategy.differences(there.knee.strategy),
        _figures(study, here.knee, there.knee),
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
    found = [trial.result.measurements.get(metric) for trial in (first, second)]
    ends = [measurement.ci95 for measurement in found if measurement is not None]
    if len(ends) < 2 or ends[0] is None or ends[1] is None:
        return None
    return ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0]


def _same_seed(first: Trial, second: Trial) -> list[str]:
    if first.seed == second.seed:
        return []
    return [f"other seeds: {first.seed} and {second.seed}"]
