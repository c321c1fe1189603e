"""Which strategies near a bound are trained again with another seed, and when.

The score of one training run has the error of its seed and of a finite validation split. A fast
strategy whose score is near a bound is therefore not recommended, however many similar ones are
tried. Replicates narrow the difference: more runs of the strategy, and of the default if the bound
is relative to it. Their worth is the knowledge gradient, the expected gain of what can be
recommended, per second. One run alone often cannot decide, so plans of up to three runs are
compared (Frazier, Powell 2010, *Paradoxes in Learning and the Marginal Value of Information*). The
first run of the best plan starts, and the next turn plans anew. A pure function of the study and
its trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.budget import busy_seconds
from autotune.analysis.metric_posterior import RANGES
from autotune.analysis.recommendation import Recommender
from autotune.analysis.refutation import MIN_PROBABILITY
from autotune.domain import Constraint, Phase, State, Strategy, Study, Trial, TrialOrigin
from autotune.domain.constraints import constraint_bound
from autotune.domain.metrics import get_metric
from autotune.levers import deployment_key, training_key
from autotune.tuner.confirmation import full_run_seconds

Floats = NDArray[np.float64]
Rows = tuple[int, ...]

Fits = Callable[[Strategy, float, int], bool]
"""Whether the budget has room for ``runs`` of a strategy that take ``seconds`` altogether."""

SEED_OFFSET = 101
"""Replicates have the study's seed plus this and more; confirmations have the seeds right after the
study's."""

MIN_FINISHED_TRIALS = 4
"""Finished trials of the sampler before the first replicate."""

MAX_RATIO = 1 / 3
"""The most replicates for each trial of the sampler, by number and by time."""

MAX_REPLICATES = 2
"""Replicates of one strategy. The first ones bring most, and then others are more uncertain."""

MIN_GAIN = 0.02
"""The least expected gain of a plan, in units of the default."""

MAX_CANDIDATES = 5
"""The most promising strategies, for which plans are made."""

MIN_CANDIDATE_PROBABILITY = 0.2
"""Strategies that satisfy the constraints with a lower probability are not replicated."""

PLANNING_POINTS = 100
"""Plans are made after each trial of the sampler at first, and later after each hundredth part of
them: with thousands of strategies it takes seconds."""

DRAWS = 128
"""Antithetic pairs of outcomes of a plan, from which its gain is estimated."""

MAX_RUNS = 3
"""Runs of a plan."""


@dataclass(frozen=True)
class _Bound:
    """A constraint on a score, and what is believed of it: ``means`` (groups,) and joint samples as
    ``deviations`` from their mean (samples, groups). ``limit`` is the bound of the difference to
    the group ``reference``, or of the score itself without one. ``run_variance`` is that of the
    error of one run."""

    sign: float
    limit: float
    reference: int | None
    means: Floats
    deviations: Floats
    run_variance: float

    def probabilities(self, runs: Rows, draws: Floats) -> Floats:
        """The probability that each group satisfies the constraint after ``runs`` of these groups,
        by outcome: shape (draws, groups). ``draws`` (draws, runs) are standard normal."""
        from scipy.special import ndtr

        means, variances = np.tile(self.means, (len(draws), 1)), self._variances
        needed = runs if self.reference is None else (*runs, self.reference)
        # Rows of the covariance, which as a whole is too large with thousands of groups.
        rows = {row: self._covariances(row) for row in needed}
        for row, outcomes in zip(runs, draws.T, strict=False):
            step = rows[row] / np.sqrt(rows[row][row] + self.run_variance)
            means = means + outcomes[:, None] * step
            variances = variances - step**2
            rows = {other: values - step[other] * step for other, values in rows.items()}
        if self.reference is not None:
            shared = rows[self.reference]
            means = means - means[:, [self.reference]]
            variances = variances + variances[self.reference] - 2 * shared
        margins = self.sign * (means - self.limit)
        return np.asarray(ndtr(margins / np.sqrt(np.maximum(variances, 1e-12))))

    @cached_property
    def _variances(self) -> Floats:
        return np.asarray(self.deviations.var(axis=0, ddof=1))

    def _covariances(self, row: int) -> Floats:
        """Those of one group with each group, shape (groups,)."""
        return np.asarray(self.deviations[:, row] @ self.deviations / (len(self.deviations) - 1))


class Replication:
    """The plans of replicates for the trials of a study.

    A group are the trials that share all scores of which there are bounds: those that train alike,
    or deploy alike if a bound is on a score of the deployed model.
    """

    def __init__(self, study: Study, history: Sequence[Trial]) -> None:
        self._study, self._history = study, history
        self._recommender = Recommender(study, history)
        self._scores, others = _split_constraints(study)
        self._key = _group_key(self._scores)
        groups: dict[str, list[Trial]] = {}
        for trial in self._recommender.candidates:
            probabilities = (self._recommender.posterior.probability(trial, c) for c in others)
            if min(probabilities, default=1.0) >= MIN_PROBABILITY:
                groups.setdefault(self._key(trial.strategy), []).append(trial)
        default = self._recommender.posterior.default
        self._default_key = None if default is None else self._key(default.strategy)
        self._groups: Mapping[str, Sequence[Trial]] = groups
        self._keys = list(groups)

    @cached_property
    def _runs_left(self) -> Mapping[str, int]:
        """How many more replicates the groups with replicates can have. None, if one did not
        complete: the next would probably not."""
        states: dict[str, list[State]] = {}
        for trial in self._history:
            if trial.origin is TrialOrigin.REPLICATE and trial.is_informative:
                states.setdefault(self._key(trial.strategy), []).append(trial.state)
        return {
            key: MAX_REPLICATES - len(ended) if set(ended) == {State.COMPLETE} else 0
            for key, ended in states.items()
        }

    def _is_allowed(self, plan: Rows) -> bool:
        """Whether each group of ``plan`` can have as many more replicates."""
        return all(
            plan.count(row) <= self._runs_left.get(self._keys[row], MAX_REPLICATES) for row in plan
        )

    def choose(self, fits: Fits) -> Strategy | None:
        """The strategy to run again, or ``None``."""
        if self._default_row is None or not self._bounds or not self._values.shape[1]:
            return None
        best, best_rate = None, self._mean_gain_rate
        for plan in filter(self._is_allowed, self._plans()):
            gain, seconds = self._gain(plan), sum(self._seconds[row] for row in plan)
            trial = self._fastest[plan[0]]
            is_better = gain >= MIN_GAIN and gain / seconds > best_rate
            if is_better and fits(trial.strategy, seconds, len(plan)):
                best, best_rate = trial.strategy, gain / seconds
        return best

    @cached_property
    def _default_row(self) -> int | None:
        is_measured = self._default_key in self._groups
        return self._keys.index(str(self._default_key)) if is_measured else None

    @cached_property
    def _bounds(self) -> Sequence[_Bound]:
        firsts = [trials[0] for trials in self._groups.values()]
        return [bound for c in self._scores if (bound := self._bound(c, firsts)) is not None]

    def _bound(self, constraint: Constraint, firsts: Sequence[Trial]) -> _Bound | None:
        posterior = self._recommender.posterior
        limit = constraint_bound(constraint, posterior.default)
        run_variance = posterior.run_variance(constraint.metric)
        if limit is None or run_variance is None:
            return None
        samples = posterior.sample(constraint.metric, firsts)
        means = np.array([posterior.mean(trial, constraint.metric) for trial in firsts], float)
        if constraint.relative:
            # What all scores have in common does not matter, and one run says little about it.
            samples = samples - samples.mean(axis=1, keepdims=True)
            limit = constraint.bound
        sign = 1.0 if constraint.operator in (">", ">=") else -1.0
        deviations = samples - samples.mean(axis=0)
        reference = self._default_row if constraint.relative else None
        return _Bound(sign, limit, reference, means, deviations, run_variance)

    @cached_property
    def _values(self) -> Floats:
        """The best posterior mean of each objective whose metric has no bound, by group, in units
        of the default: shape (groups, objectives)."""
        bounded = {constraint.metric for constraint in self._study.constraints}
        objectives = [o for o in self._study.objectives if o.metric not in bounded]
        posterior, default = self._recommender.posterior, self._recommender.posterior.default
        assert default is not None
        units = [abs(posterior.mean(default, o.metric) or 0.0) or 1.0 for o in objectives]
        rows = [
            [
                max(o.sign * (posterior.mean(t, o.metric) or 0.0) for t in trials) / unit
                for o, unit in zip(objectives, units, strict=True)
            ]
            for trials in self._groups.values()
        ]
        return np.array(rows, dtype=float).reshape(len(rows), len(objectives))

    @cached_property
    def _fastest(self) -> Sequence[Trial]:
        """The trial of each group whose training takes the least time."""
        return [
            min(trials, key=lambda t: (t.metric("train_seconds") or np.inf, t.number))
            for trials in self._groups.values()
        ]

    @cached_property
    def _seconds(self) -> Sequence[float]:
        """The duration of a replicate of each group."""
        return [max(full_run_seconds(trial, self._history), 1e-3) for trial in self._fastest]

    def _satisfaction(self, runs: Rows, draws: Floats) -> Floats:
        """The probability of the least certain constraint, shape (draws, groups)."""
        parts = [bound.probabilities(runs, draws) for bound in self._bounds]
        satisfied = np.min(parts, axis=0)
        satisfied[:, self._default_row] = 1.0
        return np.asarray(satisfied)

    @cached_property
    def _probabilities(self) -> Floats:
        return np.asarray(self._satisfaction((), np.zeros((1, 0)))[0])

    def _best_values(self, acceptable: NDArray[np.bool_]) -> Floats:
        """The sum over objectives of the best value among acceptable groups: shape (draws,)."""
        values = np.where(acceptable[..., None], self._values, -np.inf)
        return np.asarray(values.max(axis=-2).sum(axis=-1))

    def _gain(self, plan: Rows) -> float:
        """By how much the runs of ``plan`` are expected to improve what can be recommended."""
        half = np.random.default_rng(0).standard_normal((DRAWS, MAX_RUNS))
        satisfied = self._satisfaction(plan, np.concatenate([half, -half]))
        after = self._best_values(satisfied >= MIN_PROBABILITY)
        return float(np.maximum(after - self._value, 0.0).mean())

    @cached_property
    def _value(self) -> float:
        """The value of what can be recommended now."""
        return float(self._best_values(self._probabilities >= MIN_PROBABILITY))

    @cached_property
    def _mean_gain_rate(self) -> float:
        """The gain per second of all trials of the sampler: what new strategies bring. Time is
        moved to replicates when they bring more (Charnov 1976, marginal value theorem)."""
        seconds = busy_seconds(_sampled(self._history))
        default = float(self._best_values(np.arange(len(self._keys)) == self._default_row))
        return (self._value - default) / seconds if seconds else 0.0

    def _plans(self) -> Iterator[Rows]:
        """Up to three runs of a promising group and of the default; the group is run first."""
        default = self._default_row
        assert default is not None
        is_relative = any(bound.reference is not None for bound in self._bounds)
        for row in self._promising_rows():
            yield from ((row,), (row, row))
            if is_relative:
                yield from ((row, default), (row, row, default), (row, default, default))
        if is_relative:
            yield from ((default,), (default, default))

    def _promising_rows(self) -> Sequence[int]:
        """Groups that cannot be recommended yet and would be better, the most promising first."""
        probabilities = self._probabilities
        acceptable = probabilities >= MIN_PROBABILITY
        improvements = np.array([
            self._best_values(acceptable | (np.arange(len(self._keys)) == row)) - self._value
            for row in range(len(self._keys))
        ])  # fmt: skip
        promise = improvements * probabilities * (probabilities >= MIN_CANDIDATE_PROBABILITY)
        ranked = np.argsort(-promise, kind="stable")[:MAX_CANDIDATES]
        return [int(row) for row in ranked if promise[row] > 0]


def choose_replicate(
    study: Study, history: Sequence[Trial], fits: Fits
) -> tuple[Strategy, int] | None:
    """The strategy to train again now and its seed, or ``None``."""
    scores, _ = _split_constraints(study)
    if not scores or any(trial.is_confirmation for trial in history):
        return None
    sampled = _sampled(history)
    interval = max(len(sampled) // PLANNING_POINTS, 1)
    if len(sampled) < MIN_FINISHED_TRIALS or len(sampled) % interval:
        return None
    replicates = [
        trial for trial in history if trial.origin is TrialOrigin.REPLICATE and trial.is_informative
    ]
    if len(replicates) >= MAX_RATIO * len(sampled):
        return None
    if busy_seconds(replicates) >= MAX_RATIO * busy_seconds(sampled):
        return None
    strategy = Replication(study, history).choose(fits)
    if strategy is None:
        return None
    key = _group_key(scores)
    runs = sum(key(trial.strategy) == key(strategy) for trial in replicates)
    return strategy, (study.task.seed + SEED_OFFSET + runs) % 2**32


def _split_constraints(study: Study) -> tuple[Sequence[Constraint], Sequence[Constraint]]:
    """The constraints on scores, whose error more runs reduce, and the others."""

    def is_repeatable(constraint: Constraint) -> bool:
        metric = get_metric(constraint.metric)
        return metric.is_score and metric.kind in RANGES

    scores = [c for c in study.constraints if is_repeatable(c)]
    return scores, [c for c in study.constraints if not is_repeatable(c)]


def _group_key(scores: Sequence[Constraint]) -> Callable[[Strategy], str]:
    """Equal for strategies that share the metrics of ``scores``."""
    is_deployed = any(get_metric(c.metric).phase is Phase.DEPLOY for c in scores)
    return deployment_key if is_deployed else training_key


def _sampled(history: Sequence[Trial]) -> list[Trial]:
    """The finished trials of the sampler, with those that were interrupted and ran again."""
    origins, states = (TrialOrigin.SAMPLED, TrialOrigin.RETRY), (State.COMPLETE, State.PRUNED)
    return [trial for trial in history if trial.origin in origins and trial.state in states]
