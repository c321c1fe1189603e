"""How sure it is that a point belongs to the front.

Every figure was measured with some noise, so the true front may be another one. The figures of all
trials that come near the front are drawn many times from what is known of them: the interval of
each measurement, and how much repeated runs differ. A point's probability is the share of draws in
which it satisfies the constraints and no other trial that does dominates it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import find_baseline
from autotune.analysis.replicates import (
    SPEED,
    Z95,
    Estimate,
    Replicates,
    ci95_half_width,
    is_score,
    speed_dependent_share,
)
from autotune.domain import Phase, State, Study, Trial
from autotune.domain.constraints import constraint_bound
from autotune.domain.metrics import METRICS

Floats = NDArray[np.float64]

POSTERIOR_SAMPLES = 400
"""A probability is good to 0.025 (one standard error), or better near 0 and 1."""

TOLERANCE = 0.005
"""By how much a probability may be too high because unlikely rivals are left out."""


@dataclass(frozen=True)
class FrontPoint:
    """A point of the front: its figures and, of scores, those on the test split, by metric; the
    runs that confirm it; and the probability (0..1) that it belongs to the front."""

    trial: Trial
    estimates: Mapping[str, Estimate]
    test_estimates: Mapping[str, Estimate]
    confirmations: Sequence[Trial]
    probability: float

    @property
    def is_confirmed(self) -> bool:
        """Whether it was run again, whole, with another seed."""
        return bool(self.confirmations)


def front_points(study: Study, trials: Sequence[Trial], front: Sequence[Trial]) -> list[FrontPoint]:
    """All that is known of each member of ``front``, in the same order."""
    repeats = Replicates(trials)
    found = front_probabilities(study, trials, front, repeats)
    names = [objective.metric for objective in study.objectives]
    return [
        FrontPoint(
            trial,
            {name: f for name in names if (f := repeats.estimate(trial, name)) is not None},
            {name: f for name in names if (f := repeats.test_estimate(trial, name)) is not None},
            repeats.confirmations(trial),
            found[trial.number],
        )
        for trial in front
    ]


def front_probabilities(
    study: Study, trials: Sequence[Trial], front: Sequence[Trial], repeats: Replicates
) -> dict[int, float]:
    """The probability of each member of ``front``, by number. The same trials give the same."""
    if not front:
        return {}
    beliefs = _Posterior([*front, *_others(study, trials, front)], repeats)
    rivals = _rivals(study, beliefs, len(front))
    rows = np.unique(np.concatenate([np.arange(len(front)), *rivals]))
    gains = [o.sign * beliefs.draws(o.metric, rows) for o in study.objectives]
    held = _held(study, find_baseline(study, trials), beliefs, rows)
    return {
        trial.number: _share_on_front(gains, held, row, np.searchsorted(rows, rivals[row]))
        for row, trial in enumerate(front)
    }


def _share_on_front(
    gains: Sequence[Floats], held: NDArray[np.bool_], row: int, rivals: NDArray[np.int64]
) -> float:
    """The share of draws in which the trial in ``row`` satisfies the constraints and none of
    ``rivals`` that does dominates it."""
    covered = held[:, rivals]
    better = np.zeros_like(covered)
    for drawn in gains:
        own, theirs = drawn[:, row, None], drawn[:, rivals]
        covered &= theirs >= own
        better |= theirs > own
    dominated = (covered & better).any(axis=1)
    return float((held[:, row] & ~dominated).mean())


def _held(
    study: Study, default: Trial | None, beliefs: _Posterior, rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """In which draws trials satisfy the constraints, shape (draws, trials)."""
    held = np.ones((POSTERIOR_SAMPLES, len(rows)), dtype=bool)
    for constraint in study.constraints:
        limit = constraint_bound(constraint, default)
        if limit is not None:
            values = beliefs.draws(constraint.metric, rows)
            more = constraint.operator in (">=", ">")
            held &= (values >= limit) if more else (values <= limit)
    return held


def _rivals(study: Study, beliefs: _Posterior, front: int) -> list[NDArray[np.int64]]:
    """Of each of the first ``front`` trials, the others that may well dominate it: those left out
    would do so in less than :data:`NEGLECTED` of all draws together."""
    chance = np.ones((front, len(beliefs.trials)))
    for objective in study.objectives:
        means, deviations = beliefs.of(objective.metric)
        ahead = objective.sign * (means[None, :] - means[:front, None])
        noise = np.maximum(np.hypot(deviations[None, :], deviations[:front, None]), 1e-12)
        better = 1 / (1 + np.exp(np.clip(-1.702 * ahead / noise, -50, 50)))  # nearly the normal's
        chance = np.minimum(chance, better)
    chance[np.arange(front), np.arange(front)] = 0.0
    found = []
    for row in chance:
        order = np.argsort(row)
        least = int(np.searchsorted(np.cumsum(row[order]), TOLERANCE))
        found.append(np.sort(order[least:]))
    return found


def _others(study: Study, trials: Sequence[Trial], front: Sequence[Trial]) -> list[Trial]:
    """Other complete trials that measured all that is asked for, one a strategy."""
    seen = {trial.strategy.key for trial in front}
    names = [o.metric for o in study.objectives] + [c.metric for c in study.constraints]
    found = {}
    for trial in trials:
        own = trial.result.measurements
        if trial.state is not State.COMPLETE or not trial.is_result:
            continue
        if trial.strategy.key not in seen and all(
            name in own and math.isfinite(own[name].value) for name in names
        ):
            found[trial.strategy.key] = trial
    return list(found.values())


class _Posterior:
    """What is known of every metric of some trials, all of which measured it."""

    def __init__(self, trials: Sequence[Trial], repeats: Replicates) -> None:
        self.trials, self._repeats = trials, repeats
        self._found: dict[str, tuple[Floats, Floats]] = {}

    def of(self, metric: str) -> tuple[Floats, Floats]:
        """Mean and standard deviation of what it truly is, each of shape (trials,)."""
        if metric not in self._found:
            found = self._measured(metric)
            self._found[metric] = found if not _is_of_run(metric) else self._of_run(metric, found)
        return self._found[metric]

    def draws(self, metric: str, rows: NDArray[np.int64]) -> Floats:
        """Draws of it for the trials in ``rows``, shape (draws, rows)."""
        means, deviations = (found[rows] for found in self.of(metric))
        if is_score(metric):
            return np.asarray(means + deviations * self._noise(metric, rows))
        shares = np.divide(deviations, means, out=np.zeros_like(means), where=means > 0)
        if _is_of_run(metric):
            shares = -shares  # time and money are wrong as the speed is: what is faster takes less
        noise = self._noise(SPEED if _is_of_run(metric) else metric, rows)
        return np.asarray(means * np.exp(shares * noise))

    def _measured(self, metric: str) -> tuple[Floats, Floats]:
        """The noise of a score is that of its few examples and of its seed. Where anything else was
        repeated, the spread between runs holds all its noise; else that within the run has to do.
        """
        own = [trial.result.measurements[metric] for trial in self.trials]
        means = np.array([m.value for m in own], dtype=float)
        within = np.array([ci95_half_width(m) or 0.0 for m in own]) / Z95
        spread = self._repeats.run_variation(metric)
        if spread is None:
            return means, within
        if is_score(metric):
            return means, np.hypot(within, spread.deviation)
        deviations = np.maximum(within, spread.deviation * np.abs(means))
        for row, trial in enumerate(self.trials):
            figure = (
                self._repeats.estimate(trial, metric)
                if self._repeats.confirmations(trial)
                else None
            )
            if figure is not None:
                means[row] = figure.value
                deviations[row] /= math.sqrt(figure.runs)
        return means, deviations

    def _of_run(self, metric: str, found: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """Of a metric of the whole run: that part of it that goes with the speed varies with it."""
        means, deviations = found
        if any(SPEED not in trial.result.measurements for trial in self.trials):
            return means, deviations
        speed, spread = self.of(SPEED)
        shares = np.array([speed_dependent_share(trial, metric) for trial in self.trials])
        return means, np.asarray(np.abs(means) * shares * spread / speed)

    def _noise(self, metric: str, rows: NDArray[np.int64]) -> Floats:
        """Standard normal numbers, the same for trials that share the measurement."""
        sources = [_source(self.trials[row], metric) for row in rows.tolist()]
        unique, place = np.unique(sources, return_inverse=True)
        drawn = np.random.default_rng([*metric.encode()]).standard_normal(
            (POSTERIOR_SAMPLES, len(unique))
        )
        return np.asarray(drawn[:, place])


def _is_of_run(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].phase is Phase.RUN


def _source(trial: Trial, metric: str) -> int:
    """The trial in which a number was measured."""
    measurement = trial.result.measurements.get(metric)
    source = None if measurement is None else measurement.source
    return trial.number if source is None else source
