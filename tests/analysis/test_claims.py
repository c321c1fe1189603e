"""What is claimed of recommended strategies, in simulated studies whose true values are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from small_studies import ACCURACY, SPEED, study

from autotune.analysis.metric_posterior import INTERVAL_QUANTILE
from autotune.analysis.recommendation import Recommender
from autotune.domain import (
    Categorical,
    Constraint,
    Dimension,
    Measurement,
    SearchSpace,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.levers import profile_key, training_key

STUDIES, TRIALS = 80, 24
VALIDATION, TEST = 600, 1200
DEFAULT = {"batch_size": 8, "learning_rate": 1e-4, "precision": "fp32", "pruning_ratio": 0.0}
SPACE = SearchSpace(
    (
        Dimension("batch_size", Categorical((8, 16, 32))),
        Dimension("learning_rate", Categorical((5e-5, 1e-4, 2e-4, 4e-4))),
        Dimension("precision", Categorical(("fp32", "bf16"))),
        Dimension("pruning_ratio", Categorical((0.0, 0.25, 0.5))),
    ),
    DEFAULT,
)
SEED_DEVIATION, RUN_DEVIATION, SHARED = 0.008, 0.03, 0.5
"""Of accuracy between seeds, of log speed between runs, and of the errors on equal samples."""


@dataclass
class World:
    """True values by strategy, and the machine, whose speed changes."""

    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.effects = self.rng.normal(0, [0.2, 0.0, 0.15, 0.25])
        self.accuracies = self.rng.normal(0, [0.008, 0.01, 0.005, 0.015])
        self.offsets = {
            size: self.rng.normal(0, math.sqrt(SHARED * 0.21 / size)) for size in (VALIDATION, TEST)
        }
        self.deviations: dict[str, float] = {}

    def truth(self, strategy: Strategy) -> tuple[float, float]:
        """Log speed and accuracy."""
        speed = self.deviations.setdefault(profile_key(strategy), self.rng.normal(0, 0.05))
        accuracy = self.deviations.setdefault(training_key(strategy), self.rng.normal(0, 0.006))
        values = np.array([
            math.log2(float(strategy["batch_size"]) / 8),
            math.log2(float(strategy["learning_rate"]) / 1e-4),
            float(strategy["precision"] == "bf16"), 4 * float(strategy["pruning_ratio"]),
        ])  # fmt: skip
        return (
            3.0 + float(values @ self.effects) + speed,
            0.7 + float(values @ self.accuracies) + accuracy,
        )

    def run(self, number: int, strategy: Strategy, seed: int = 0, is_test: bool = False) -> Trial:
        speed, accuracy = self.truth(strategy)
        size, drift = TEST if is_test else VALIDATION, self.rng.normal(0, 0.15)
        speed = math.exp(speed - drift + self.rng.normal(0, RUN_DEVIATION))
        accuracy += self.offsets[size] + self.rng.normal(0, SEED_DEVIATION)
        accuracy += self.rng.normal(0, math.sqrt((1 - SHARED) * 0.21 / size))
        half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / size)
        reference = 0.1 * math.exp(drift + self.rng.normal(0, 0.005))
        measurements = (
            Measurement(SPEED, speed, "samples/s", 8, (speed * 0.98, speed * 1.02)),
            Measurement(ACCURACY, accuracy, "ratio", size, (accuracy - half, accuracy + half)),
            Measurement(
                "reference_seconds", reference, "s", 9, (reference * 0.99, reference * 1.01)
            ),
        )
        origin = TrialOrigin.CONFIRMATION if is_test else TrialOrigin.SAMPLED
        result = TrialResult({m.name: m for m in measurements})
        return Trial(number, State.COMPLETE, strategy, seed, origin, result=result)


def search(rng: np.random.Generator) -> tuple[World, Study, list[Trial]]:
    """A random search with two confirmed finalists and the default confirmed, by two seeds."""
    world = World(rng)
    strategies = [Strategy(DEFAULT)]
    while len(strategies) < TRIALS:
        values = {d.lever: d.domain.values[rng.integers(len(d.domain.values))]  # type: ignore[union-attr]
                  for d in SPACE.dimensions}  # fmt: skip
        strategies.append(Strategy(values))
    trials = [world.run(n, strategy) for n, strategy in enumerate(strategies)]
    best = sorted(trials[1:], key=lambda t: -(t.metric(SPEED) or 0))[:2]
    for seed in (1, 2):
        for source in (trials[0], *best):
            trials.append(world.run(len(trials), source.strategy, seed, is_test=True))
    bound = Constraint(ACCURACY, ">=", -0.01, relative=True)
    return world, replace(study(constraints=[bound]), space=SPACE), trials


def test_claims_of_recommended_strategies_hold() -> None:
    errors: dict[str, list[float]] = {SPEED: [], ACCURACY: []}
    kept = []
    for number in range(STUDIES):
        world, definition, trials = search(np.random.default_rng(number))
        recommender, default = Recommender(definition, trials), trials[0].strategy
        for goal in ("fastest", "most-accurate"):
            strategy = recommender.recommend(goal).trial.strategy
            if strategy.key == default.key:
                continue
            differences = np.subtract(world.truth(strategy), world.truth(default))
            kept.append(differences[1] >= -0.01)
            for metric, difference in zip((SPEED, ACCURACY), differences, strict=True):
                claim = recommender.posterior.compare(recommender.recommend(goal).trial, metric)
                assert claim is not None
                low, high = np.log(claim.ci95) if claim.is_ratio else claim.ci95
                if high > low:  # else both have one speed
                    errors[metric].append(((low + high) / 2 - difference) / ((high - low) / 2))
    assert np.mean(kept) >= 0.9, "each claim has a probability of at least 0.8"
    for values in errors.values():
        assert len(values) > STUDIES
        assert abs(np.mean(values)) * INTERVAL_QUANTILE < 0.2, "no winner's curse"
        assert 0.92 <= np.mean(np.abs(values) <= 1) <= 0.985
