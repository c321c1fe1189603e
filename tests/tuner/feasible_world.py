"""A simulated host whose memory and speed differ from the formulas by hidden factors."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from autotune.domain import (
    Categorical,
    Completed,
    Dimension,
    FailureReason,
    Infeasible,
    Limits,
    Measurement,
    Outcome,
    SearchSpace,
    State,
    Strategy,
    Study,
    Task,
    Trial,
    TrialOrigin,
    TrialResult,
    WorkloadProfile,
)
from autotune.levers import FORBIDDEN_CLAUSES, defaults
from autotune.tuner.feasibility.flops import training_flops
from autotune.tuner.feasibility.memory import COMPONENTS, memory_footprints
from autotune.tuner.feasibility.shapes import WorkloadShape
from tests.tuner.small_study import HOST

MINILM = WorkloadProfile(
    embedding_parameters=11_918_592, layer_parameters=1_774_464, head_parameters=149_765,
    layers=6, hidden=384, heads=12, intermediate_size=1536, labels=5, label_per_token=False,
    dropout=True,
    train_samples=1500, validation_samples=300, max_length=128, median=37, p95=104, longest=128,
    idle_gib=0.37,
)  # fmt: skip

DIMENSIONS = (
    Dimension("allocator", Categorical(("system", "tuned"))),
    Dimension("batch_size", Categorical((8, 48, 128))),
    Dimension("padding", Categorical(("fixed", "dynamic"))),
    Dimension("precision", Categorical(("fp32", "bf16"))),
    Dimension("attention", Categorical(("eager", "sdpa"))),
    Dimension("activation_checkpointing", Categorical((False, True))),
    Dimension("pruning_ratio", Categorical((0.0, 0.5))),
    Dimension("optimizer", Categorical(("adamw-fused", "sgd"))),
)
SPACE = SearchSpace(DIMENSIONS, defaults(HOST), FORBIDDEN_CLAUSES)

HOST_FACTORS: Mapping[str, float] = {
    "process": 1.25, "states": 1.05, "activations": 0.75, "attention": 1.6, "kernels": 0.7,
}  # fmt: skip
"""Memory of this host relative to the formula, by component."""


class World:
    """Simulates trials. ``noise`` is the standard deviation of log peaks and log speeds."""

    def __init__(
        self, seed: int = 0, noise: float = 0.06, profile: WorkloadProfile = MINILM
    ) -> None:
        self.seed, self.noise, self.profile = seed, noise, profile

    def _noise(self, strategy: Strategy, quantity: str) -> float:
        return random.Random(f"{self.seed} {strategy.key} {quantity}").lognormvariate(0, self.noise)

    def peak_gib(self, strategy: Strategy) -> float:
        factors = [HOST_FACTORS[name] for name in COMPONENTS]
        footprints = memory_footprints(self.profile, strategy, "host")
        totals = [sum(f * gib for f, gib in zip(factors, fp, strict=True)) for fp in footprints]
        return max(totals) * self._noise(strategy, "peak")

    def speed(self, strategy: Strategy) -> float:
        slow = 1.3 if strategy["attention"] == "eager" else 1.0
        return 3e11 / training_flops(self.profile, strategy) / slow * self._noise(strategy, "speed")

    def seconds(self, strategy: Strategy) -> float:
        return 3.0 + WorkloadShape(self.profile, strategy).train_samples / self.speed(strategy)

    def run(self, strategy: Strategy, limits: Limits) -> tuple[Outcome, float]:
        """The outcome of a trial and its duration in seconds."""
        peak, seconds = self.peak_gib(strategy), self.seconds(strategy)
        if limits.memory_gib is not None and peak > limits.memory_gib:
            return Infeasible(FailureReason.OUT_OF_MEMORY, "used too much"), 2.0
        if limits.minutes is not None and seconds > 60 * limits.minutes:
            return Infeasible(FailureReason.TIMEOUT, "still running"), 60 * limits.minutes
        values = {
            "peak_memory_gib": peak,
            "train_samples_per_second": self.speed(strategy),
            "accuracy": 0.9,
        }
        measurements = {name: Measurement(name, value, "x") for name, value in values.items()}
        return Completed(TrialResult(measurements)), seconds

    def trial(self, number: int, strategy: Strategy, limits: Limits | None = None) -> Trial:
        """Trial ``number``, finished."""
        outcome, seconds = self.run(strategy, limits or Limits())
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
        origin = TrialOrigin.DEFAULT if number == 0 else TrialOrigin.SAMPLED
        running = Trial(number, State.RUNNING, strategy, started_at=start, origin=origin)
        return running.finish(outcome, start + timedelta(seconds=seconds))


def study_of(study: Study, limits: Limits) -> Study:
    """``study`` with the search space of this host."""
    return replace(study, task=Task(), space=SPACE, limits=limits, constraints=())
