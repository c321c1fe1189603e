"""A small landscape whose speed and accuracy are known formulas, and a search over it that shares
what trials have measured, with what each trial costs."""

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
    SamplerChoice,
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
from autotune.search.cache import ResultCache, phase_of
from autotune.search.samplers.factored import FactoredSampler
from tests.search.small_study import HOST

START = datetime(2026, 1, 1, tzinfo=UTC)
PROBE, EVALUATION = 1.0, 0.3

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
        name="world", task=Task(), objectives=tuple(objectives), constraints=tuple(constraints),
        space=SearchSpace(tuple(dimensions), defaults(HOST), FORBIDDEN_CLAUSES),
        sampler=SamplerChoice("factored", seed),
    )  # fmt: skip


def measured(strategy: Strategy) -> dict[str, float]:
    """Log speed is a sum over levers; accuracy peaks at a rate, and pruning costs some of it."""
    ratio, batch = float(strategy["pruning_ratio"]), float(strategy["batch_size"])
    slow = 0.3 * bool(strategy["activation_checkpointing"])
    quick = 0.2 * (strategy["attention"] == "sdpa") + 0.1 * (strategy["allocator"] == "tuned")
    speed = 200 * int(strategy["threads"]) * math.exp(ratio + quick - slow + 0.1 * math.log(batch))
    rate = math.log10(float(strategy["learning_rate"])) + 4
    odds = 1.5 - rate**2 - 0.8 * ratio + 0.5 * math.log(float(strategy["epochs"]))
    samples, setup = 1000 * float(strategy["epochs"]), 0.1
    seconds = setup + samples / speed
    return {
        "train_samples_per_second": speed, "peak_memory_gib": 0.5 + 0.05 * batch,
        "inference_latency_ms": 4.0 / math.exp(ratio + quick),
        "setup_seconds": setup, "train_samples": samples, "accuracy": 1 / (1 + math.exp(-odds)),
        "train_seconds": seconds, "cost_usd": 1e-5 * int(strategy["threads"]) * seconds,
    }  # fmt: skip


def finished(
    number: int, strategy: Strategy, numbers: Mapping[str, float], *,
    sources: Mapping[str, int] | None = None, seconds: float = 2.0, state: str = "complete",
) -> Trial:  # fmt: skip
    found = {
        name: Measurement(name, value, METRICS[name].unit, 500, source=(sources or {}).get(name))
        for name, value in numbers.items()
    }
    began = START + timedelta(seconds=100 * number)
    running = Trial(
        number, State.RUNNING, strategy, started_at=began,
        origin=TrialOrigin.DEFAULT if number == 0 else TrialOrigin.SAMPLED,
    )  # fmt: skip
    outcome = Pruned("dominated", TrialResult(found)) if state == "pruned" else Completed(
        TrialResult(found)
    )  # fmt: skip
    return running.finished(outcome, began + timedelta(seconds=seconds))


@dataclass
class World:
    """A search that shares; ``seconds`` is what all of it cost."""

    study: Study
    sampler: Sampler | None = None
    history: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._asked = self.sampler or FactoredSampler(self.study)
        self._knowledge = ResultCache(self.study)
        if not self.history:
            self.run(self.study.baseline)

    def run(self, strategy: Strategy) -> Trial:
        """Measure what nobody knows yet."""
        numbers = measured(strategy)
        known = self._knowledge.find(strategy, self.study.task.seed)
        sources = {
            name: source.number
            for name in numbers
            for part in [phase_of(Measurement(name, 0.0, ""))]
            if part is not None and (source := known.source(part)) is not None
        }
        cost = 0.0 if known.profile else PROBE
        cost += 0.0 if known.train else numbers["train_seconds"] + EVALUATION
        trial = finished(len(self.history), strategy, numbers, sources=sources, seconds=cost)
        self.seconds += cost
        self.history.append(trial)
        self._knowledge.update(self.history)
        return trial

    def steps(self, most: int) -> Iterator[Trial]:
        """Ask and run until the sampler has nothing left, at most so many trials."""
        while len(self.history) < most:
            strategy = self._asked.ask(self.history)
            if strategy is None:
                return
            yield self.run(strategy)

    def walk(self, most: int) -> list[Trial]:
        return [*self.history, *self.steps(most)]


def failed(number: int, strategy: Strategy, state: State, kind: str) -> Trial:
    ended = finished(number, strategy, {})
    return replace(ended, state=state, failure=FailureReason(kind), reason="it did not work")
