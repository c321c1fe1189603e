"""A study and its trials at one moment, with everything that reports and pages derive from them.

Every property is computed on first use and then kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autotune.analysis.attribution import Attribution, attribute
from autotune.analysis.filters import MetricFilter, apply_filters, metric_filters
from autotune.analysis.front import (
    ObjectiveValues,
    Violation,
    confirmed_trials,
    direction_of,
    find_baseline,
    measures_objectives,
    non_dominated_trials,
    select_feasible,
    superseded_trials,
    value_of,
    violations_by_trial,
)
from autotune.analysis.hypervolume import HypervolumePoint, hypervolume_history
from autotune.analysis.paired import PairedRuns
from autotune.analysis.posterior import Posterior
from autotune.analysis.probability import FrontPoint, front_points, front_probabilities
from autotune.analysis.recommendation import PICKS, Recommendation, Recommender
from autotune.analysis.recommendation_text import (
    describe_trial,
    explain_recommendation,
    recommendation_sentence,
    sharing_note,
    status_phrase,
)
from autotune.analysis.replicates import Replicates, confirmed_trial
from autotune.analysis.text import describe_baseline, format_value, strategy_difference
from autotune.analysis.verdict import (
    Verdict,
    describe_verdict,
    dominating_rows,
    replacements,
)
from autotune.domain import State, Study, Trial, TrialOrigin
from autotune.domain.metrics import METRICS
from autotune.errors import NotFoundError

ON_TEST = " on test"
"""Follows the name of a score in the heading of its column of test scores."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """``trials`` of ``study`` in order of number. Equal only to itself."""

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
        """Violated constraints by number of the complete trial."""
        return violations_by_trial(self.study, self.trials, self.baseline)

    @cached_property
    def superseded(self) -> frozenset[int]:
        """Numbers of the trials that an isolated re-run replaces."""
        return superseded_trials(self.trials)

    @cached_property
    def feasible(self) -> Sequence[Trial]:
        """Complete results with all objectives measured and all constraints satisfied."""
        return select_feasible(self.study, self.trials, self.violations, self.superseded)

    @cached_property
    def front(self) -> Sequence[Trial]:
        """The non-dominated feasible trials, best in the first objective first."""
        return self.front_of(self.feasible)

    @cached_property
    def metric_filters(self) -> Sequence[MetricFilter]:
        """The filters to offer to a reader, all inactive."""
        return metric_filters(self.study, self.feasible)

    def filter_trials(self, filters: Sequence[MetricFilter]) -> Sequence[Trial]:
        """The feasible trials that pass all ``filters``."""
        if not any(metric_filter.is_active for metric_filter in filters):
            return self.feasible
        return apply_filters(self.feasible, filters)

    def front_of(self, members: Sequence[Trial], metrics: Sequence[str] = ()) -> Sequence[Trial]:
        """The front of the feasible ``members`` over ``metrics``, each in its better direction;
        without ``metrics`` over the objectives. Best in the first metric first."""
        names = tuple(metrics) or tuple(o.metric for o in self.study.objectives)
        is_cacheable = members is self.feasible
        if is_cacheable and names in self._fronts:
            return self._fronts[names]
        rows = np.array([self._rows[trial.number] for trial in members], dtype=int)
        points = np.column_stack([self._signed_values(name)[rows] for name in names])
        measured = np.flatnonzero(np.isfinite(points).all(axis=1))
        front = non_dominated_trials([members[row] for row in measured.tolist()], points[measured])
        if is_cacheable:
            self._fronts[names] = front
        return front

    @cached_property
    def _fronts(self) -> dict[tuple[str, ...], Sequence[Trial]]:
        return {}

    @cached_property
    def _rows(self) -> Mapping[int, int]:
        return {trial.number: row for row, trial in enumerate(self.feasible)}

    def _signed_values(self, metric: str) -> ObjectiveValues:
        """Values of the feasible trials, shape (trials,), signed so that more is better; NaN where
        not measured."""
        if metric not in self._signed:
            sign = 1.0 if direction_of(self.study, metric) == "maximize" else -1.0
            measured = self.metric_values(metric)
            values = [measured.get(trial.number, np.nan) for trial in self.feasible]
            self._signed[metric] = sign * np.array(values, dtype=float)
        return self._signed[metric]

    @cached_property
    def _signed(self) -> dict[str, ObjectiveValues]:
        return {}

    @cached_property
    def front_points(self) -> Mapping[int, FrontPoint]:
        """The members of the front and the knee with their estimates, by number."""
        members = list({t.number: t for t in (*self.front, self.knee) if t is not None}.values())
        points = front_points(self.study, self.trials, members, self.posterior)
        return {point.trial.number: point for point in points}

    @cached_property
    def posterior(self) -> Posterior:
        """What is believed of the true values of the strategies."""
        return Posterior(self.study, self.trials)

    @cached_property
    def recommender(self) -> Recommender:
        return Recommender(self.study, self.trials, self.posterior)

    @cached_property
    def recommendations(self) -> Mapping[str, Recommendation]:
        """The recommendation for each goal that has one: ``knee``, ``fastest``, ..."""
        recommendations = {}
        for goal in ("knee", *PICKS):
            with suppress(NotFoundError):
                recommendations[goal] = self.recommender.recommend(goal)
        return recommendations

    @cached_property
    def knee(self) -> Trial | None:
        """The recommended compromise; ``None`` if no strategy is acceptable."""
        recommendation = self.recommendations.get("knee")
        return None if recommendation is None else recommendation.trial

    def describe(self, trial: Trial) -> str:
        """``trial`` against the default, with intervals, and whether it is confirmed."""
        return describe_trial(self.recommender, trial)

    def sharing_note(self, trial: Trial) -> str | None:
        """Which trials measured the figures that ``trial`` reuses; ``None`` if it measured all."""
        return sharing_note(self.recommender, trial)

    def status_phrase(self, trial: Trial) -> str:
        """Whether the strategy of ``trial`` is confirmed, with its test scores."""
        return status_phrase(self.recommender, trial)

    def recommendation_sentence(self, goal: str) -> str | None:
        """The recommendation for ``goal``, or what comes closest; ``None`` if nothing does."""
        return recommendation_sentence(self.recommender, self.recommendations.get(goal))

    def attribution(self, trial: Trial) -> Attribution | None:
        """Where the gain of ``trial`` over the default comes from; ``None`` if nothing was gained
        or measured, or if there are too few trials to tell."""
        if trial.state is not State.COMPLETE:
            return None
        key = trial.strategy.key
        if key not in self._attributions:
            arguments = (self.study, self.trials, trial, self.posterior)
            self._attributions[key] = attribute(*arguments)
        return self._attributions[key]

    @cached_property
    def _attributions(self) -> dict[str, Attribution | None]:
        return {}

    @cached_property
    def confirmed(self) -> frozenset[int]:
        """Numbers of the trials whose strategy has a complete confirmation run."""
        return confirmed_trials(self.trials)

    @cached_property
    def replicates(self) -> Replicates:
        """The runs of each strategy."""
        return Replicates(self.trials)

    @cached_property
    def pairs(self) -> PairedRuns:
        """The confirmation runs of strategies with equal seeds."""
        return PairedRuns(self.trials)

    def confirmed_trial(self, run: Trial) -> Trial | None:
        """The trial that the confirmation run ``run`` repeats."""
        return confirmed_trial(run, self.trials)

    @cached_property
    def front_probabilities(self) -> Mapping[int, float]:
        """The probability (0..1) that a member of the front belongs to it, given the noise of the
        measurements, by number."""
        return front_probabilities(self.study, self.trials, self.front, self.posterior)

    @cached_property
    def verdicts(self) -> Mapping[int, Verdict]:
        """The verdict on each trial, by number."""
        on_front = {trial.number for trial in self.front}
        return {trial.number: self._verdict(trial, on_front) for trial in self.trials}

    def _verdict(self, trial: Trial, on_front: set[int]) -> Verdict:
        if trial.state is not State.COMPLETE:
            return Verdict.UNFINISHED
        if trial.is_confirmation:
            return Verdict.CONFIRMATION
        if trial.origin is TrialOrigin.REPLICATE:
            return Verdict.REPLICATE
        if trial.origin == TrialOrigin.TRANSFERRED:
            return Verdict.TRANSFERRED
        if trial.number in self.superseded:
            return Verdict.SUPERSEDED
        if not measures_objectives(self.study, trial):
            return Verdict.UNMEASURED
        if trial.number in self.violations:
            return Verdict.VIOLATING
        return Verdict.FRONT if trial.number in on_front else Verdict.DOMINATED

    @cached_property
    def verdict_texts(self) -> Mapping[int, str]:
        """The verdict on each trial in words, by number."""
        return {
            trial.number: describe_verdict(
                trial,
                verdict := self.verdicts[trial.number],
                violations=self.violations.get(trial.number, ()),
                other=self._other_trial(trial, verdict),
                source=self.study.warm_start,
                recommendation=self._recommendation_reason(trial, verdict),
            )
            for trial in self.trials
        }

    def _other_trial(self, trial: Trial, verdict: Verdict) -> int | None:
        """The trial that dominates ``trial``, replaces it, or is repeated or confirmed by it."""
        if verdict is Verdict.DOMINATED:
            return self._dominators.get(trial.number)
        numbers = {
            Verdict.REPLICATE: self._first_by_key,
            Verdict.CONFIRMATION: self._first_by_key,
            Verdict.SUPERSEDED: self._replacements,
        }.get(verdict, {})
        return numbers.get(trial.strategy.key)

    def _recommendation_reason(self, trial: Trial, verdict: Verdict) -> str | None:
        """Why ``trial`` is recommended although its own measurements speak against it; ``None`` if
        it is not, or if they do not."""
        goals = self._recommended_goals.get(trial.number)
        if goals is None or verdict not in (Verdict.DOMINATED, Verdict.VIOLATING):
            return None
        other = self._dominators.get(trial.number)
        dominator = None if other is None else self.by_number[other]
        return explain_recommendation(self.recommender, trial, goals, dominator)

    @cached_property
    def _recommended_goals(self) -> Mapping[int, Sequence[str]]:
        """The goals for which each recommended trial is recommended, by its number."""
        goals: dict[int, list[str]] = {}
        for goal, recommendation in self.recommendations.items():
            goals.setdefault(recommendation.trial.number, []).append(goal)
        return goals

    @cached_property
    def _dominators(self) -> Mapping[int, int]:
        """By number of a dominated trial, the first member of the front that dominates it."""
        points = np.column_stack([self._signed_values(o.metric) for o in self.study.objectives])
        rows = dominating_rows(points, [self._rows[trial.number] for trial in self.front])
        return {
            trial.number: self.feasible[row].number
            for trial, row in zip(self.feasible, rows, strict=True)
            if row is not None
        }

    @cached_property
    def _first_by_key(self) -> Mapping[str, int]:
        """The first trial of each strategy that repeats no other with another seed."""
        trials = (trial for trial in reversed(self.trials) if not trial.has_another_seed)
        return {trial.strategy.key: trial.number for trial in trials}

    @cached_property
    def _replacements(self) -> Mapping[str, int]:
        return replacements(self.trials)

    @cached_property
    def violating(self) -> Sequence[Trial]:
        """Complete trials that violate a constraint."""
        return [t for t in self.trials if self.verdicts[t.number] is Verdict.VIOLATING]

    @cached_property
    def by_state(self) -> Mapping[State, Sequence[Trial]]:
        """The trials in each state; every state is a key."""
        trials: dict[State, list[Trial]] = {state: [] for state in State}
        for trial in self.trials:
            trials[trial.state].append(trial)
        return trials

    @cached_property
    def metrics(self) -> Sequence[str]:
        """Measured metrics: objectives first, then in the order of the registry."""
        measured = {name for trial in self.trials for name in trial.result.measurements}
        objectives = self.study.reported_metrics
        others = [name for name in METRICS if name in measured and name not in objectives]
        return [*objectives, *others, *sorted(measured - {*objectives, *METRICS})]

    def metric_values(self, metric: str) -> Mapping[int, float]:
        """Values of one metric by number, of the trials that measured it."""
        if metric not in self._metric_values:
            values = ((trial.number, value_of(trial, metric)) for trial in self.trials)
            self._metric_values[metric] = {n: value for n, value in values if value is not None}
        return self._metric_values[metric]

    @cached_property
    def _metric_values(self) -> dict[str, dict[int, float]]:
        return {}

    @cached_property
    def hypervolume_history(self) -> Sequence[HypervolumePoint]:
        """The hypervolume after each finished trial."""
        return hypervolume_history(self.study, self.trials)

    @cached_property
    def strategy_differences(self) -> Mapping[int, str]:
        """The settings of each trial that differ from the default, as text, by number."""
        default, name = self.study.baseline.values, describe_baseline(self.study)
        return {t.number: strategy_difference(t.strategy, default, name) for t in self.trials}

    def table_columns(self) -> dict[str, list[Any]]:
        """A table with one row per trial: state, metrics (``None`` if not measured), levers. Scores
        of confirmed strategies on the test split are beside those on validation."""
        trials = self.trials
        columns: dict[str, list[Any]] = {}
        for name in self.metrics:
            columns[name] = [value_of(t, name) for t in trials]
            on_test = [self._test_score(t, name) for t in trials]
            if any(score is not None for score in on_test):
                columns[f"{name}{ON_TEST}"] = on_test
        levers = sorted({name for trial in trials for name in trial.strategy.values})
        return {
            "trial": [t.number for t in trials],
            "state": [t.state.value for t in trials],
            "verdict": [self.verdict_texts[t.number] for t in trials],
            **columns,
            **{name: _uniform([t.strategy.values.get(name) for t in trials]) for name in levers},
            "origin": [t.origin for t in trials],
            "seconds": [t.seconds for t in trials],
            "started": [t.started_at for t in trials],
            "reason": [t.reason for t in trials],
        }

    def _test_score(self, trial: Trial, metric: str) -> float | None:
        """The mean of a score over the confirmation runs of a complete ``trial``."""
        if trial.state is not State.COMPLETE:
            return None
        estimate = self.replicates.test_estimate(trial, metric)
        return None if estimate is None else estimate.value


def _uniform(values: list[Any]) -> list[Any]:
    """``values``, all as text if numbers and words are mixed, so that a column has one type."""
    if any(isinstance(value, str) for value in values):
        return [None if value is None else format_value(value) for value in values]
    return values
