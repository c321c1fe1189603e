"""Studies and outcomes with a value in every field, for tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime

from autotune.domain import (
    Budget,
    Categorical,
    Columns,
    Completed,
    Constraint,
    Correctness,
    CurvePoint,
    Dimension,
    Event,
    ExecutorConfig,
    ForbiddenClause,
    Limits,
    Measurement,
    Objective,
    Prices,
    Range,
    SamplerConfig,
    SearchSpace,
    Strategy,
    Study,
    Task,
    TrialResult,
)

ENVIRONMENT = {"fingerprint": "f00d", "git_commit": "c0ffee", "versions": {"torch": "2.13"}}


def study(name: str = "bert") -> Study:
    return Study(
        name=name,
        task=Task(
            dataset={"train": "a.jsonl", "validation": "b.jsonl"},
            columns=Columns(text_pair="other"),
            steps=20,
        ),
        objectives=(Objective("accuracy", "maximize"), Objective("cost_usd", "minimize")),
        space=SearchSpace(
            dimensions=(
                Dimension("mixed", Categorical((True, 1, 1.0, "1", False, 0, 0.0, "0"))),
                Dimension("learning_rate", Range(1e-5, 1e-3, log=True)),
                Dimension("batch_size", Range(8, 64, step=8, integer=True), when="mixed == 1"),
            ),
            defaults={"mixed": True, "learning_rate": 5e-5, "batch_size": 8},
            rules=(ForbiddenClause("batch_size > 32", "too large"),),
        ),
        constraints=(Constraint("accuracy", ">=", -0.01, relative=True),),
        budget=Budget(trials=24, minutes=10.0),
        limits=Limits(memory_gib=8.0),
        prices=Prices(cpu_core=0.04, gpus={"H200": 4.0}),
        executor=ExecutorConfig(workers=2),
        sampler=SamplerConfig("nsga2", 7),
        start_with=(strategy(3), strategy(4)),
        spec={"study": name, "space": {"batch_size": [8, 16], "note": "é\u4e16"}, "none": None},
    )


def strategy(index: int = 0) -> Strategy:
    return Strategy({"batch_size": 8 + index, "fused": True, "rate": 1.0, "name": "1", "zero": 0})


def trial_result() -> TrialResult:
    samples = tuple(200.0 + i / 3 for i in range(9))
    return TrialResult(
        measurements={
            "speed": Measurement("speed", 201.5, "1/s", 9, (199.25, 203.75), samples, (5.0, 6.0)),
            "accuracy": Measurement("accuracy", 1 / 3, "", 400, (0.3, 0.4), (0.5, 0.25), source=0),
            "cost_usd": Measurement("cost_usd", 1e-7, "USD"),
        },
        curve=(
            CurvePoint(10, 20, 80, 1.5, loss=2.25),
            CurvePoint(20, 20, 160, 3.0, loss=float("inf"), metrics={"accuracy": 0.25}),
        ),
        memory=((0.0, 0.5), (1.0, 0.75)),
        events=(Event(datetime(2026, 3, 1, 12, 30, 1, 250, tzinfo=UTC), "phase", "training"),),
        environment={"threads": 2, "nested": {"list": [1, 2.0, True, None]}},
        artifacts={"model": "trials/0/model.safetensors"},
        log="trials/0/log.txt",
        correctness=Correctness("0123456789abcdef", 10, "qkA="),
    )


def completed() -> Completed:
    return Completed(trial_result())
