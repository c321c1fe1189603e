"""Which trial of a study is recommended for a goal, and how sure that is.

Only strategies that satisfy every constraint with a probability of at least
:data:`MIN_PROBABILITY` are recommended, and none that its confirmation runs refute. Among these the
posterior means decide, not single runs. If no strategy qualifies but the default and those that
train exactly as it does, the strategy that comes closest is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import get_args

import numpy as np

from autotune.analysis.filters import condition_values, parse_condition
from autotune.analysis.front import (
    ObjectiveValues,
    knee,
    measures_objectives,
    non_dominated_trials,
    suggest_trial,
    superseded_trials,
)
from autotune.analysis.paired import PairedRuns
from autotune.analysis.posterior import Posterior
from autotune.analysis.refutation import MIN_PROBABILITY, Refutations
from autotune.analysis.replicates import Replicates
from autotune.domain import Constraint, State, Study, Trial
from autotune.domain.expression import Expression
from autotune.domain.metrics import METRICS, Pick, select_metrics
from autotune.errors import NotFoundError
from autotune.levers import training_key

PICKS: tuple[str, ...] = get_args(Pick)
"""Goals that choose by the best value of a metric; ``knee`` is the compromise."""


CONDITION_SAMPLES = 200
"""Samples for the probability of a condition, whose standard error is at most 0.035."""


class Status(StrEnum):
    """What confirmation runs say about a strategy."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    UNCONFIRMED = "not confirmed"


@dataclass(frozen=True)
class Closest:
    """The strategy that is most likely to satisfy ``constraint``, the one that it misses."""

    trial: Trial
    constraint: Constraint
    probability: float


@dataclass(frozen=True)
class Recommendation:
    """The trial to choose for ``goal``, a word of :data:`PICKS` or ``knee``.

    ``probability`` is that of the least certain constraint. ``sources`` are the trials whose phases
    it shares if it was never run as a whole. ``closest`` is set if, because of the constraints, no
    strategy qualifies that trains otherwise than the default.
    """

    goal: str
    trial: Trial
    probability: float
    status: Status
    sources: tuple[int, ...]
    closest: Closest | None


def more_seeds(study: Study) -> str:
    """What to change in ``study``, so that more confirmation runs make its answer surer."""
    if study.has_goal:
        return "raise goal.seeds"
    return "raise confirm.seeds" if study.confirm is not None else "set confirm={top: 3, seeds: 3}"


class Recommender:
    """The recommendations of a study. All figures are posterior means."""

    def __init__(
        self, study: Study, trials: Sequence[Trial], posterior: Posterior | None = None
    ) -> None:
        self.study, self.trials = study, trials
        self.posterior = posterior or Posterior(study, trials)
        self.replicates, self.pairs = Replicates(trials), PairedRuns(trials)
        self._refutations = Refutations(study, trials)
        self._probabilities: dict[int, float] = {}

    @cached_property
    def candidates(self) -> Sequence[Trial]:
        """Complete results with all objectives measured, whatever the constraints."""
        superseded = superseded_trials(self.trials)
        return [
            trial
            for trial in self.trials
            if trial.state is State.COMPLETE
            and trial.is_result
            and trial.number not in superseded
            and measures_objectives(self.study, trial)
        ]

    @cached_property
    def acceptable(self) -> Sequence[Trial]:
        """The candidates that may be recommended: those that satisfy each constraint with
        :data:`MIN_PROBABILITY`, and that no confirmation has refuted."""
        return [
            trial
            for trial in self.candidates
            if self.probability(trial) >= MIN_PROBABILITY
            and self.status(trial) is not Status.REFUTED
        ]

    @cached_property
    def front(self) -> Sequence[Trial]:
        """The acceptable trials whose posterior means no other's dominate."""
        return self.front_of(self.acceptable)

    def front_of(self, members: Sequence[Trial]) -> Sequence[Trial]:
        """Those of ``members`` whose posterior means no other's dominate."""
        return non_dominated_trials(members, self._points(members))

    def probability(self, trial: Trial) -> float:
        """The probability that ``trial`` satisfies the constraint that it is least sure to."""
        if trial.number not in self._probabilities:
            values = [self.posterior.probability(trial, c) for c in self.study.constraints]
            self._probabilities[trial.number] = min(values, default=1.0)
        return self._probabilities[trial.number]

    def status(self, trial: Trial) -> Status:
        """Whether the confirmation runs of the strategy confirm it, refute it
        (:meth:`~autotune.analysis.refutation.Refutations.is_refuted`), or leave it undecided
        whether it satisfies the constraints."""
        if not self._is_default(trial) and self._refutations.is_refuted(trial):
            return Status.REFUTED
        if not self.replicates.confirmations(trial):
            return Status.UNCONFIRMED
        is_likely = self.probability(trial) >= MIN_PROBABILITY
        return Status.CONFIRMED if is_likely else Status.UNDECIDED

    def sources(self, trial: Trial) -> tuple[int, ...]:
        """The other trials whose phases ``trial`` reuses in its reported metrics."""
        measured = [trial.result.measurements.get(m) for m in self.study.reported_metrics]
        sources = {m.source for m in measured if m is not None and m.source is not None}
        return tuple(sorted(sources - {trial.number}))

    def is_composed(self, trial: Trial) -> bool:
        """Whether the strategy was never run as a whole, training included."""
        return bool(self.sources(trial)) and not self.replicates.confirmations(trial)

    def recommend(self, goal: str) -> Recommendation:
        """The recommendation for ``goal``. Raises :class:`~autotune.errors.NotFoundError` if no
        trial can be recommended or none measured the metrics of the goal."""
        return self.describe(goal, self.choose(goal, self._require_acceptable()))

    def describe(self, goal: str, trial: Trial) -> Recommendation:
        """``trial`` as the recommendation for ``goal``."""
        return Recommendation(
            goal,
            trial,
            self.probability(trial),
            self.status(trial),
            self.sources(trial) if self.is_composed(trial) else (),
            self.closest,
        )

    def choose(self, goal: str, members: Sequence[Trial]) -> Trial:
        """The best of ``members`` for ``goal``; of equal ones one on the front, then the first."""
        front = self.front if members is self.acceptable else self.front_of(members)
        if goal == "knee":
            trial = knee(self.study, front, self._points(front))
            assert trial is not None
            return trial
        metric = self._pick_metric(members, goal)
        sign = 1.0 if METRICS[metric].direction == "maximize" else -1.0
        numbers = {trial.number for trial in front}
        means = [(self.posterior.mean(trial, metric), trial) for trial in members]
        ranks = [
            ((sign * mean, trial.number in numbers, -trial.number), trial)
            for mean, trial in means
            if mean is not None
        ]
        if not ranks:
            raise NotFoundError(f"study {self.study.name} has no finite value of {metric}")
        return max(ranks, key=lambda pair: pair[0])[1]

    def suggest(self, members: Sequence[Trial], weights: Mapping[str, float]) -> Trial | None:
        """The best of ``members`` by weights of the objectives."""
        front = self.front_of(members)
        return suggest_trial(self.study, front, weights, self._points(front))

    def satisfying(self, condition: str) -> Sequence[Trial]:
        """The acceptable trials that satisfy ``condition`` with :data:`MIN_PROBABILITY`."""
        members = self._require_acceptable()
        expression = parse_condition(self.study, condition)
        probabilities = self._condition_probabilities(members, expression)
        pairs = list(zip(probabilities, members, strict=True))
        matches = [trial for probability, trial in pairs if probability >= MIN_PROBABILITY]
        if matches:
            return matches
        probability, trial = max(pairs, key=lambda pair: (pair[0], -pair[1].number))
        subject = f"no trial of study {self.study.name} satisfies {condition}"
        if probability < 1 / 100:
            raise NotFoundError(
                subject,
                hint=f"relax the condition; show the front: autotune pareto {self.study.name}",
            )
        raise NotFoundError(
            f"{subject} with a probability of {MIN_PROBABILITY}; trial {trial.number} comes "
            f"closest with {probability:.2f}",
            hint=f"choose it by its number, or make it surer: {more_seeds(self.study)}",
        )

    @cached_property
    def closest(self) -> Closest | None:
        """The strategy that comes closest; ``None`` if one qualifies that trains otherwise than the
        default, or if no constraint is in the way."""
        is_met = any(not self._trains_as_default(trial) for trial in self.acceptable)
        if is_met or not self.study.constraints:
            return None
        others = [
            trial
            for trial in self.candidates
            if not self._trains_as_default(trial) and self.status(trial) is not Status.REFUTED
        ]
        if not others:
            return None
        best = max(others, key=lambda trial: (self.probability(trial), -trial.number))
        return Closest(best, self.least_certain_constraint(best), self.probability(best))

    def least_certain_constraint(self, trial: Trial) -> Constraint:
        """The constraint that ``trial`` satisfies with the lowest probability; one must exist."""
        return min(self.study.constraints, key=lambda c: self.posterior.probability(trial, c))

    def _is_default(self, trial: Trial) -> bool:
        default = self.posterior.default
        return default is not None and trial.strategy.key == default.strategy.key

    def _trains_as_default(self, trial: Trial) -> bool:
        """Whether the two differ in settings at most that no score depends on."""
        default = self.posterior.default
        if default is None:
            return False
        return training_key(trial.strategy) == training_key(default.strategy)

    def _require_acceptable(self) -> Sequence[Trial]:
        if not self.acceptable:
            raise NotFoundError(
                f"no trial of study {self.study.name} is complete and satisfies the constraints",
                hint=f"list all trials: autotune trials {self.study.name}",
            )
        return self.acceptable

    def _points(self, members: Sequence[Trial]) -> ObjectiveValues:
        """Posterior means of the objectives, signed so that more is better."""
        rows = [
            [o.sign * (self.posterior.mean(trial, o.metric) or 0.0) for o in self.study.objectives]
            for trial in members
        ]
        return np.array(rows, dtype=float).reshape(len(members), len(self.study.objectives))

    def _condition_probabilities(
        self, members: Sequence[Trial], condition: Expression
    ) -> list[float]:
        """The share of samples of the posterior in which each of ``members`` satisfies it."""
        metrics = sorted(name for name in condition.names if name in METRICS)
        samples = [
            self.posterior.sample(name, members)[:CONDITION_SAMPLES].T.tolist() for name in metrics
        ]
        probabilities = []
        for row, trial in enumerate(members):
            values = condition_values(trial)
            if not condition.names <= values.keys():
                probabilities.append(0.0)
                continue
            draws = zip(*(columns[row] for columns in samples), strict=True) if samples else [()]
            results = [
                condition.holds({**values, **dict(zip(metrics, draw, strict=True))})
                for draw in draws
            ]
            probabilities.append(sum(results) / len(results))
        return probabilities

    def _pick_metric(self, members: Sequence[Trial], goal: str) -> str:
        """The first metric of ``goal`` that is a measured objective, else the first measured."""
        names = select_metrics(lambda metric: metric.pick == goal)
        objectives = {objective.metric for objective in self.study.objectives}
        measured = {name for trial in members for name in trial.metrics}
        for available in (objectives & measured, measured):
            for name in names:
                if name in available:
                    return name
        raise NotFoundError(
            f"study {self.study.name} measured none of {', '.join(names)}, which '{goal}' needs",
            hint="choose by a trial number or knee",
        )
