"""A study whose metrics are formulas, and a simulated search over it with the duration of its
trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from autotune.domain import (
    Categorical,
    Completed,
    Constraint,
    Dimension,
    FailureReason,
    Measurement,
    Objective,
    Pruned,
    Range,
    SamplerConfig,
    SearchSpace,
    State,
    Strategy,
    Study,
    Task,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.metrics import METRICS
from autotune.levers import FORBIDDEN_CLAUSES, defaults
from autotune.ports import Sampler
from autotune.tuner.cache import ResultCache, phase_of
from autotune.tuner.samplers.factored import FactoredSampler
from tests.tuner.small_study import HOST

START = datetime(2026, 1, 1, tzinfo=UTC)
PROFILE_SECONDS, EVALUATION_SECONDS = 1.0, 0.3

SPEED_ONLY = (
    Dimension("threads", Categorical((1, 2))),
    Dimension("attention", Categorical(("eager", "sdpa"))),
    Dimension("activation_checkpointing", Categorical((False, True))),
    Dimension("allocator", Categorical(("system", "tuned"))),
)
TRAINING_ONLY = (
    Dimension("learning_rate", Categorical((1e-5, 1e-4, 1e-3))),
    Dimension("epochs", Categorical((1.0, 3.0))),
)
MIXED = (
    Dimension("batch_size", Categorical((8, 16, 64))),
    Dimension("pruning_ratio", Categorical((0.0, 0.5))),
)
CONTINUOUS = (
    Dimension("pruning_ratio", Range(0.0, 0.75, step=0.25)),
    Dimension("pruning_method", Categorical(("structured", "layers")), "pruning_ratio > 0"),
    Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
)

TRADE_OFF = (Objective("train_samples_per_second", "maximize"), Objective("accuracy", "maximize"))


def study(
    dimensions: Sequence[Dimension] = (*SPEED_ONLY, *MIXED, *TRAINING_ONLY),
    objectives: Sequence[Objective] = TRADE_OFF,
    constraints: Sequence[Constraint] = (),
    seed: int = 0,
) -> Study:
    return Study(
        name="simulated", task=Task(), objectives=tuple(objectives), constraints=tuple(constraints),
        space=SearchSpace(tuple(dimensions), defaults(HOST), FORBIDDEN_CLAUSES),
        sampler=SamplerConfig("factored", seed),
    )  # fmt: skip


def simulate_metrics(strategy: Strategy) -> dict[str, float]:
    """The logarithm of the speed is a sum over levers. The accuracy has a maximum at one learning
    rate and falls with pruning."""
    ratio, batch = float(strategy["pruning_ratio"]), float(strategy["batch_size"])
    slowdown = 0.3 * bool(strategy["activation_checkpointing"])
    speedup = 0.2 * (strategy["attention"] == "sdpa") + 0.1 * (strategy["allocator"] == "tuned")
    log_factor = ratio + speedup - slowdown + 0.1 * math.log(batch)
    speed = 200 * int(strategy["threads"]) * math.exp(log_factor)
    rate = math.log10(float(strategy["learning_rate"])) + 4
    log_odds = 1.5 - rate**2 - 0.8 * ratio + 0.5 * math.log(float(strategy["epochs"]))
    samples, setup = 1000 * float(strategy["epochs"]), 0.1
    seconds = setup + samples / speed
    return {
        "train_samples_per_second": speed, "peak_memory_gib": 0.5 + 0.05 * batch,
        "inference_latency_ms": 4.0 / math.exp(ratio + speedup),
        "setup_seconds": setup, "train_samples": samples,
        "accuracy": 1 / (1 + math.exp(-log_odds)),
        "train_seconds": seconds, "cost_usd": 1e-5 * int(strategy["threads"]) * seconds,
    }  # fmt: skip


def finished_trial(
    number: int, strategy: Strategy, values: Mapping[str, float], *,
    sources: Mapping[str, int] | None = None, seconds: float = 2.0, state: str = "complete",
) -> Trial:  # fmt: skip
    """A complete or pruned trial with these metrics; ``sources`` are the trials of cached ones."""
    measurements = {
        name: Measurement(name, value, METRICS[name].unit, 500, source=(sources or {}).get(name))
        for name, value in values.items()
    }
    started_at = START + timedelta(seconds=100 * number)
    running = Trial(
        number, State.RUNNING, strategy, started_at=started_at,
        origin=TrialOrigin.DEFAULT if number == 0 else TrialOrigin.SAMPLED,
    )  # fmt: skip
    result = TrialResult(measurements)
    outcome = Pruned("dominated", result) if state == "pruned" else Completed(result)
    return running.finish(outcome, started_at + timedelta(seconds=seconds))


def failed_trial(number: int, strategy: Strategy, state: State, failure: str) -> Trial:
    trial = finished_trial(number, strategy, {})
    return replace(trial, state=state, failure=FailureReason(failure), reason="it failed")


@dataclass
class SimulatedSearch:
    """A search that reuses cached results. ``seconds`` is the total duration of its trials."""

    study: Study
    sampler: Sampler | None = None
    history: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._sampler = self.sampler or FactoredSampler(self.study)
        self._cache = ResultCache(self.study)
        if not self.history:
            self.run_trial(self.study.baseline)

    def run_trial(self, strategy: Strategy) -> Trial:
        """Add a trial of the phases without a cached result."""
        values = simulate_metrics(strategy)
        hit = self._cache.find(strategy, self.study.task.seed)
        sources = {
            name: source.number
            for name in values
            for phase in [phase_of(Measurement(name, 0.0, ""))]
            if phase is not None and (source := hit.source(phase)) is not None
        }
        seconds = 0.0 if hit.profile else PROFILE_SECONDS
        seconds += 0.0 if hit.train else values["train_seconds"] + EVALUATION_SECONDS
        trial = finished_trial(
            len(self.history), strategy, values, sources=sources, seconds=seconds
        )
        self.seconds += seconds
        self.history.append(trial)
        self._cache.update(self.history)
        return trial

    def iterate(self, max_trials: int) -> Iterator[Trial]:
        """Run proposals until there are ``max_trials``, or the space is exhausted."""
        while len(self.history) < max_trials:
            strategy = self._sampler.ask(self.history)
            if strategy is None:
                return
            yield self.run_trial(strategy)

    def run(self, max_trials: int) -> list[Trial]:
        """The history after at most ``max_trials``."""
        return [*self.history, *self.iterate(max_trials)]
