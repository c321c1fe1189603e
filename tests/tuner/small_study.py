"""A small study, and an in-process executor that runs a formula instead of a fine-tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from autotune.analysis.budget import BudgetUsage
from autotune.domain import (
    Categorical,
    Completed,
    Constraint,
    CurvePoint,
    Device,
    Dimension,
    Host,
    Job,
    Measurement,
    Objective,
    Outcome,
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
    WorkloadProfile,
)
from autotune.levers import FORBIDDEN_CLAUSES, defaults
from autotune.ports import Ask, Clock, Evaluate, ShouldStop, Tell
from autotune.tuner.cache import ResultCache
from autotune.tuner.turn import Turn

HOST = Host(
    cpu="test", cores=(0, 1), physical_cores=2, memory_gib=8.0,
    devices=(Device("cpu", "cpu", bf16=True),), libc="glibc 2.36", tools=("c++", "python.h"),
)  # fmt: skip

DIMENSIONS = (
    Dimension("threads", Categorical((1, 2))),
    Dimension("batch_size", Categorical((8, 16, 32))),
    Dimension("precision", Categorical(("fp32", "bf16"))),
    Dimension("pruning_ratio", Range(0.0, 0.75, step=0.25)),
    Dimension("pruning_method", Categorical(("structured", "layers")), "pruning_ratio > 0"),
    Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
)


def small_study() -> Study:
    return Study(
        name="small",
        task=Task(),
        objectives=(
            Objective("train_samples_per_second", "maximize"),
            Objective("accuracy", "maximize"),
        ),
        space=SearchSpace(DIMENSIONS, defaults(HOST), FORBIDDEN_CLAUSES),
        constraints=(Constraint("accuracy", ">=", -0.05, relative=True),),
        sampler=SamplerConfig("tpe", 7),
    )


def measure(strategy: Strategy) -> dict[str, float]:
    """A landscape with a trade-off: pruning is fast and costs accuracy."""
    ratio, rate = float(strategy["pruning_ratio"]), float(strategy["learning_rate"])
    bf16 = strategy["precision"] == "bf16"
    speed = 50.0 * int(strategy["threads"]) * (1 + ratio) * (1.5 if bf16 else 1.0)
    return {
        "train_samples_per_second": speed,
        "accuracy": 0.9 - 0.1 * ratio - abs(rate - 2e-4) * 20,
        "cost_usd": 1 / speed,
    }


def completed(strategy: Strategy) -> Completed:
    measurements = {name: Measurement(name, v, "x") for name, v in measure(strategy).items()}
    return Completed(TrialResult(measurements))


def finished_trial(number: int, strategy: Strategy, **changes: Any) -> Trial:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=20 * number)
    running = Trial(
        number, State.RUNNING, strategy, started_at=start,
        origin=TrialOrigin.DEFAULT if number == 0 else TrialOrigin.SAMPLED,
    )  # fmt: skip
    trial = running.finish(completed(strategy), start + timedelta(seconds=10))
    return replace(trial, **changes)


def make_turn(study: Study, history: Sequence[Trial], **fields: Any) -> Turn:
    """A turn of ``study`` with ``history``, in which no trials ran concurrently."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    turn = Turn(
        study=study,
        history=history,
        unfinished=[trial for trial in history if not trial.state.is_finished],
        usage=BudgetUsage(history, now),
        cache=ResultCache(study).update(history),
        ran_concurrently=lambda number: False,
    )
    return replace(turn, **fields)


class InlineExecutor:
    """Runs each job in this process, with any function."""

    clock: Clock | None = None
    workload: WorkloadProfile | None = None

    def __init__(self) -> None:
        self.stopped = False
        self.finished: list[int] = []

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        while not self.stopped and (job := ask()) is not None:
            outcome = evaluate(job, lambda point, job=job: should_stop(job, point))
            tell(job, outcome)
            self.finished.append(job.trial)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.stopped = True


def formula(job: Job, report: Any) -> Outcome:
    """An :data:`~autotune.ports.Evaluate` that reports once and completes."""
    report(CurvePoint(1, 2, 8, 0.1, 0.5))
    return completed(job.strategy)


class RecordingObserver:
    """Records the events of a search with the number of the trial."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def started(self, trial: Trial) -> None:
        self.events.append(("started", trial.number))

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        self.events.append(("progressed", trial.number))

    def finished(self, trial: Trial) -> None:
        self.events.append(("finished", trial.number))
