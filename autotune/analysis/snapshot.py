"""A study at one moment with all that its pages and reports ask for, each thing computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.filters import MetricFilter, apply_filters, metric_filters
from autotune.analysis.front import (
    Violation,
    confirmed_trials,
    direction_of,
    find_baseline,
    find_violations,
    knee,
    non_dominated,
    superseded_trials,
    value_of,
)
from autotune.analysis.hypervolume import HypervolumePoint, hypervolume_history
from autotune.analysis.probability import FrontPoint, front_points, front_probabilities
from autotune.analysis.replicates import Replicates, confirmed_trial
from autotune.analysis.text import format_value
from autotune.domain import State, Study, Trial, TrialOrigin
from autotune.domain.metrics import METRICS


class Verdict(StrEnum):
    """What became of a trial, in the words of the front."""

    FRONT = "on the front"
    DOMINATED = "dominated"
    OUTSIDE = "outside the constraints"
    PARTIAL = "lacks an objective"
    CONFIRMING = "confirms another"
    SUPERSEDED = "measured again alone"
    HINT = "from another machine"
    UNFINISHED = "no result"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The trials as they were when it was taken, in order of number. Equal only to itself."""

    study: Study
    trials: Sequence[Trial]

    @cached_property
    def baseline(self) -> Trial | None:
        """The trial of the default configuration."""
        return find_baseline(self.study, self.trials)

    @cached_property
    def by_number(self) -> Mapping[int, Trial]:
        return {trial.number: trial for trial in self.trials}

    @cached_property
    def violations(self) -> Mapping[int, Sequence[Violation]]:
        """Violated constraints by number of the complete trial that breaks them."""
        if not self.study.constraints:
            return {}
        found = {
            trial.number: find_violations(self.study, trial, self.baseline)
            for trial in self.trials
            if trial.state is State.COMPLETE
        }
        return {number: broken for number, broken in found.items() if broken}

    @cached_property
    def feasible(self) -> Sequence[Trial]:
        return [
            trial
            for trial in self.trials
            if trial.state is State.COMPLETE
            and trial.is_result
            and trial.number not in self.violations
            and trial.number not in self.superseded
            and self._whole(trial)
        ]

    @cached_property
    def superseded(self) -> frozenset[int]:
        """Numbers of the trials in whose place a run without neighbours stands."""
        return superseded_trials(self.trials)

    def _whole(self, trial: Trial) -> bool:
        return all(value_of(trial, o.metric) is not None for o in self.study.objectives)

    @cached_property
    def front(self) -> Sequence[Trial]:
        return self.front_of(self.feasible)

    @cached_property
    def metric_filters(self) -> Sequence[MetricFilter]:
        """The bounds worth offering to a reader, each at its loose end."""
        return metric_filters(self.study, self.feasible)

    def filter_trials(self, wanted: Sequence[MetricFilter]) -> Sequence[Trial]:
        """The feasible trials that meet every bound."""
        return (
            apply_filters(self.feasible, wanted)
            if any(b.is_active for b in wanted)
            else self.feasible
        )

    def front_of(self, members: Sequence[Trial], metrics: Sequence[str] = ()) -> Sequence[Trial]:
        """The front among feasible ``members``: of the objectives, or of ``metrics`` alone, each in
        its better direction. Best in the first of them first."""
        asked = tuple(metrics) or tuple(o.metric for o in self.study.objectives)
        whole = members is self.feasible
        if whole and asked in self._fronts:
            return self._fronts[asked]
        rows = np.array([self._rows[t.number] for t in members], dtype=int)
        points = np.column_stack([self._gains(metric)[rows] for metric in asked])
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        places = known[non_dominated(points[known])].tolist()
        places.sort(key=lambda i: (*(-points[i]), members[i].number))
        found = [members[i] for i in places]
        if whole:
            self._fronts[asked] = found
        return found

    @cached_property
    def _fronts(self) -> dict[tuple[str, ...], Sequence[Trial]]:
        return {}

    @cached_property
    def _rows(self) -> Mapping[int, int]:
        return {trial.number: row for row, trial in enumerate(self.feasible)}

    def _gains(self, metric: str) -> NDArray[np.float64]:
        """Values of the feasible trials signed so that more is better; NaN where not measured."""
        if metric not in self._signed:
            sign = 1.0 if direction_of(self.study, metric) == "maximize" else -1.0
            column = self.metric_values(metric)
            values = [column.get(trial.number, np.nan) for trial in self.feasible]
            self._signed[metric] = sign * np.array(values, dtype=float)
        return self._signed[metric]

    @cached_property
    def _signed(self) -> dict[str, NDArray[np.float64]]:
        return {}

    @cached_property
    def front_points(self) -> Mapping[int, FrontPoint]:
        """All that is known of each member of the front, by number: see :class:`Point`."""
        return {p.trial.number: p for p in front_points(self.study, self.trials, self.front)}

    @cached_property
    def knee(self) -> Trial | None:
        return knee(self.study, self.front)

    @cached_property
    def confirmed(self) -> frozenset[int]:
        return confirmed_trials(self.trials)

    @cached_property
    def replicates(self) -> Replicates:
        """What several runs of one strategy say together."""
        return Replicates(self.trials)

    def confirmed_trial(self, trial: Trial) -> Trial | None:
        """The trial that a confirming run repeats."""
        return confirmed_trial(trial, self.trials)

    @cached_property
    def front_probabilities(self) -> Mapping[int, float]:
        """The probability (0..1) that a trial of the front belongs there, given the noise of all
        measurements, by number."""
        return front_probabilities(self.study, self.trials, self.front, self.replicates)

    @cached_property
    def verdicts(self) -> Mapping[int, Verdict]:
        """What became of each trial, by number."""
        on_front = {trial.number for trial in self.front}
        return {trial.number: self._verdict(trial, on_front) for trial in self.trials}

    def _verdict(self, trial: Trial, on_front: set[int]) -> Verdict:
        if trial.state is not State.COMPLETE:
            return Verdict.UNFINISHED
        if trial.is_confirmation:
            return Verdict.CONFIRMING
        if trial.origin == TrialOrigin.TRANSFERRED:
            return Verdict.HINT
        if trial.number in self.superseded:
            return Verdict.SUPERSEDED
        if not self._whole(trial):
            return Verdict.PARTIAL
        if trial.number in self.violations:
            return Verdict.OUTSIDE
        return Verdict.FRONT if trial.number in on_front else Verdict.DOMINATED

    @cached_property
    def violating(self) -> Sequence[Trial]:
        """Complete trials that break a constraint."""
        return [t for t in self.trials if self.verdicts[t.number] is Verdict.OUTSIDE]

    @cached_property
    def by_state(self) -> Mapping[State, Sequence[Trial]]:
        """The trials in each state, every state named."""
        found: dict[State, list[Trial]] = {state: [] for state in State}
        for trial in self.trials:
            found[trial.state].append(trial)
        return found

    @cached_property
    def metrics(self) -> Sequence[str]:
        """Metrics that some trial measured: objectives first, then in catalogue order."""
        measured = {name for trial in self.trials for name in trial.result.measurements}
        first = [o.metric for o in self.study.objectives]
        rest = [name for name in METRICS if name in measured and name not in first]
        return [*first, *rest, *sorted(measured - {*first, *METRICS})]

    def metric_values(self, metric: str) -> Mapping[int, float]:
        """Values of one metric by number of the trial, of those that measured it."""
        if metric not in self._columns:
            known = ((trial.number, value_of(trial, metric)) for trial in self.trials)
            self._columns[metric] = {number: v for number, v in known if v is not None}
        return self._columns[metric]

    @cached_property
    def _columns(self) -> dict[str, dict[int, float]]:
        return {}

    @cached_property
    def hypervolume_history(self) -> Sequence[HypervolumePoint]:
        """The hypervolume after each finished trial."""
        return hypervolume_history(self.study, self.trials)

    @cached_property
    def strategy_differences(self) -> Mapping[int, str]:
        """What each trial sets otherwise than the default, in words, by number."""
        base = self.study.baseline.values
        return {trial.number: _differences(trial, base) for trial in self.trials}

    def table_columns(self) -> dict[str, list[Any]]:
        """A table with a row a trial: its state, metrics (``None`` where not measured), levers."""
        trials, verdicts = self.trials, self.verdicts
        levers = sorted({name for trial in trials for name in trial.strategy.values})
        return {
            "trial": [t.number for t in trials],
            "state": [t.state.value for t in trials],
            "verdict": [verdicts[t.number].value for t in trials],
            **{name: [value_of(t, name) for t in trials] for name in self.metrics},
            **{name: _one_kind([t.strategy.values.get(name) for t in trials]) for name in levers},
            "origin": [t.origin for t in trials],
            "seconds": [t.seconds for t in trials],
            "started": [t.started_at for t in trials],
            "reason": [t.reason for t in trials],
        }


def _one_kind(values: list[Any]) -> list[Any]:
    """The values, all as text where numbers and words mix, so that a column has one type."""
    if any(isinstance(value, str) for value in values):
        return [None if value is None else format_value(value) for value in values]
    return values


def _differences(trial: Trial, base: Mapping[str, Any]) -> str:
    parts = [
        f"{name} {format_value(value)}"
        for name, value in trial.strategy.values.items()
        if base.get(name) != value
    ]
    return ", ".join(parts) or "the default configuration"
