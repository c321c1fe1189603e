"""Predicts the duration of a trial: overhead + samples / speed.

The logarithm of speed is a ridge regression on the levers that influence speed, on top of the
operations per sample; an unknown lever has no effect. The overhead is the median over trials. A
trial that hit its time limit counts as one that took somewhat longer than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Strategy, Value, WorkloadProfile
from autotune.levers import LEVERS, SPEED
from autotune.tuner.feasibility.estimate import LogNormalEstimate
from autotune.tuner.feasibility.flops import setup_samples, training_flops
from autotune.tuner.feasibility.shapes import WorkloadShape

EFFECT_SIGMA = 0.3
"""Prior standard deviation of a lever's effect on the logarithm of speed."""

PRIOR_SIGMA, PRIOR_TRIALS = 0.25, 4.0
"""Expected standard deviation of the residuals, and the number of trials that the expectation
counts as."""

TIMEOUT_FACTOR = 1.25
"""A trial that hit its time limit is assumed to take this multiple of it."""

OVERHEAD_SIGMA = 0.3
"""Relative uncertainty of the overhead after a single trial."""

ROUNDS = 3

Feature = tuple[str, str]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TimedTrial:
    """``seconds`` of a trial, and its ``speed`` in samples per second. ``speed`` is ``None`` for a
    trial that was still running after ``seconds``."""

    strategy: Strategy
    seconds: float
    speed: float | None


class TimeModel:
    """Fitted to ``trials``. Without finished trials it predicts nothing."""

    def __init__(self, profile: WorkloadProfile, trials: Sequence[TimedTrial] = ()) -> None:
        self._profile = profile
        self._columns: dict[Feature, int] = {}
        self._overheads: list[float] = []
        finished = [(t, t.speed) for t in trials if t.speed]
        if not finished:
            return
        self._overheads = [self._overhead(t, speed) for t, speed in finished]
        speeds = [(t.strategy, speed) for t, speed in finished]
        self._fit(speeds)
        timeouts = [t for t in trials if t.speed is None and self._is_underestimated(t)]
        if timeouts:
            self._fit([*speeds, *((t.strategy, self._speed_of_timeout(t)) for t in timeouts)])

    @property
    def overhead(self) -> float:
        """Seconds of a trial outside of its training steps; 0 without finished trials."""
        return median(self._overheads) if self._overheads else 0.0

    def predict(self, strategy: Strategy) -> LogNormalEstimate | None:
        """Seconds of a full trial; ``None`` without finished trials."""
        if not self._columns:
            return None
        row = self._features(strategy)
        log_speed = (
            self._intercept
            + float(row @ self._effects)
            - math.log(training_flops(self._profile, strategy))
        )
        variance = float(row @ np.linalg.solve(self._precision, row)) + self._sigma**2
        training = self._samples(strategy) / math.exp(log_speed)
        total = self.overhead + training
        overheads = self._overheads
        spread = OVERHEAD_SIGMA * self.overhead if len(overheads) == 1 else float(np.std(overheads))
        sigma = math.sqrt(training**2 * variance + spread**2) / total
        return LogNormalEstimate(total, sigma)

    # ----------------------------------------------------------------------------------- fitting

    def _samples(self, strategy: Strategy) -> float:
        trained = WorkloadShape(self._profile, strategy).train_samples
        return trained + setup_samples(self._profile, strategy)

    def _overhead(self, trial: TimedTrial, speed: float) -> float:
        return max(0.0, trial.seconds - self._samples(trial.strategy) / speed)

    def _is_underestimated(self, trial: TimedTrial) -> bool:
        prediction = self.predict(trial.strategy)
        return prediction is not None and prediction.value < TIMEOUT_FACTOR * trial.seconds

    def _speed_of_timeout(self, trial: TimedTrial) -> float:
        training = max(TIMEOUT_FACTOR * trial.seconds - self.overhead, 0.1 * trial.seconds)
        return self._samples(trial.strategy) / training

    def _fit(self, speeds: Sequence[tuple[Strategy, float]]) -> None:
        names = sorted({name for strategy, _ in speeds for name in features(strategy)})
        self._columns = {name: column for column, name in enumerate(names)}
        logs = np.array([math.log(v * training_flops(self._profile, s)) for s, v in speeds])
        self._intercept = float(np.median(logs))
        table = np.array([self._features(strategy) for strategy, _ in speeds])
        self._sigma = PRIOR_SIGMA
        for _ in range(ROUNDS):
            self._precision = (
                np.eye(len(names)) / EFFECT_SIGMA**2 + table.T @ table / self._sigma**2
            )
            descent = table.T @ (logs - self._intercept) / self._sigma**2
            self._effects = np.linalg.solve(self._precision, descent)
            residuals = logs - self._intercept - table @ self._effects
            squares = PRIOR_TRIALS * PRIOR_SIGMA**2 + float(residuals @ residuals)
            trace = float(np.trace(np.linalg.solve(self._precision, table.T @ table)))
            degrees_of_freedom = max(len(residuals) - trace / self._sigma**2, 0.0)
            self._sigma = math.sqrt(squares / (PRIOR_TRIALS + degrees_of_freedom))

    def _features(self, strategy: Strategy) -> Floats:
        row = np.zeros(len(self._columns))
        for name, value in features(strategy).items():
            if name in self._columns:
                row[self._columns[name]] = value
        return row


def features(strategy: Strategy) -> Mapping[Feature, float]:
    """Indicators of the settings that influence speed, and logarithms of those that are counts."""
    values: dict[Feature, float] = {("", "one"): 1.0}
    for name, value in strategy.values.items():
        if name in LEVERS and SPEED in LEVERS[name].influences:
            values[name, str(value)] = 1.0
            if _is_count(value):
                values[name, "log"] = math.log(float(value))
    return values


def _is_count(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 1
