"""How long a trial will take: overhead + examples / speed.

Speed is predicted by a regression of its logarithm on the levers that influence it, on top of how
many floating-point operations an example takes. Ridge keeps a lever that nothing is known of at
no effect. What a trial takes beside its steps is the median of what others took beside theirs. A
trial that was ended at its time limit counts as one that took a little longer than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from autotune.domain import Strategy, Value, WorkloadProfile
from autotune.levers import LEVERS
from autotune.levers.base import SPEED
from autotune.search.feasibility.estimate import LogNormalEstimate
from autotune.search.feasibility.flops import training_work
from autotune.search.feasibility.workload_shape import WorkloadShape

EFFECT = 0.3
"""How far a lever may move the logarithm of speed, as a standard deviation."""

SPREAD, SPREAD_TRIALS = 0.25, 4.0
"""The spread of logarithms of speed that is expected beyond the levers, and the number of trials
that this expectation is worth."""

OVERRUN = 1.25
Feature = tuple[str, str]


@dataclass(frozen=True)
class Timed:
    """What a trial took: ``seconds`` in all, and ``speed`` in examples a second. ``speed`` is
    ``None`` for a trial that was still running after ``seconds``."""

    strategy: Strategy
    seconds: float
    speed: float | None


class TimeModel:
    """Fitted to ``trials``; knows nothing without any."""

    def __init__(self, anatomy: WorkloadProfile, trials: Sequence[Timed] = ()) -> None:
        self._anatomy = anatomy
        self._columns: dict[Feature, int] = {}
        self._overheads: list[float] = []
        finished = [trial for trial in trials if trial.speed]
        if finished:
            self._overheads = [self._overhead(trial) for trial in finished]
            self._fit([(t.strategy, t.speed or 0.0) for t in finished])
            late = [t for t in trials if t.speed is None and self._was_underestimated(t)]
            if late:
                speeds = [(t.strategy, self._speed_if_late(t)) for t in late]
                self._fit([*((t.strategy, t.speed or 0.0) for t in finished), *speeds])

    @property
    def overhead(self) -> float:
        """Seconds that a trial takes beside its steps; 0 while nothing is known."""
        return median(self._overheads) if self._overheads else 0.0

    def predict(self, strategy: Strategy) -> LogNormalEstimate | None:
        """Seconds of a whole trial; ``None`` before the first was timed."""
        if not self._columns:
            return None
        row = self._row(strategy)
        log_speed = (
            self._base
            + float(row @ self._effects)
            - math.log(training_work(self._anatomy, strategy))
        )
        doubt = float(row @ np.linalg.solve(self._precision, row)) + self._spread**2
        steps = WorkloadShape(self._anatomy, strategy).examples / math.exp(log_speed)
        total = self.overhead + steps
        others = self._overheads
        unsure = float(np.std(others)) if len(others) > 1 else 0.3 * self.overhead
        spread = math.sqrt(steps**2 * doubt + unsure**2) / total
        return LogNormalEstimate(total, spread)

    # ------------------------------------------------------------------------------ how it learns

    def _overhead(self, trial: Timed) -> float:
        steps = WorkloadShape(self._anatomy, trial.strategy).examples / (trial.speed or math.inf)
        return max(0.0, trial.seconds - steps)

    def _was_underestimated(self, trial: Timed) -> bool:
        predicted = self.predict(trial.strategy)
        return predicted is not None and predicted.value < OVERRUN * trial.seconds

    def _speed_if_late(self, trial: Timed) -> float:
        steps = max(OVERRUN * trial.seconds - self.overhead, 0.1 * trial.seconds)
        return WorkloadShape(self._anatomy, trial.strategy).examples / steps

    def _fit(self, known: Sequence[tuple[Strategy, float]]) -> None:
        names = sorted({name for strategy, _ in known for name in features(strategy)})
        self._columns = {name: place for place, name in enumerate(names)}
        logs = np.array([math.log(v * training_work(self._anatomy, s)) for s, v in known])
        self._base = float(np.median(logs))
        table = np.array([self._row(strategy) for strategy, _ in known])
        self._spread = SPREAD
        for _ in range(3):
            self._precision = np.eye(len(names)) / EFFECT**2 + table.T @ table / self._spread**2
            pull = table.T @ (logs - self._base) / self._spread**2
            self._effects = np.linalg.solve(self._precision, pull)
            left = logs - self._base - table @ self._effects
            squares = SPREAD_TRIALS * SPREAD**2 + float(left @ left)
            used = float(np.trace(np.linalg.solve(self._precision, table.T @ table)))
            free = len(left) - used / self._spread**2
            self._spread = math.sqrt(squares / (SPREAD_TRIALS + max(free, 0.0)))

    def _row(self, strategy: Strategy) -> np.ndarray:
        row = np.zeros(len(self._columns))
        for name, value in features(strategy).items():
            if name in self._columns:
                row[self._columns[name]] = value
        return row


def features(strategy: Strategy) -> Mapping[Feature, float]:
    """The settings that influence speed, as numbers; magnitudes where a lever counts something."""
    found: dict[Feature, float] = {("", "one"): 1.0}
    for name, value in strategy.values.items():
        if name in LEVERS and SPEED in LEVERS[name].influences:
            found[name, str(value)] = 1.0
            if _is_count(value):
                found[name, "log"] = math.log(float(value))
    return found


def _is_count(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 1
