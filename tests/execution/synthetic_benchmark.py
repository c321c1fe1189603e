"""A small made-up `TabularBenchmark`: some levers change speed, others accuracy."""

from __future__ import annotations

import itertools
from dataclasses import asdict

from autotune.domain import CurvePoint, Device, Host, Measurement, State, Strategy, TrialOrigin
from autotune.execution.replay.benchmark import Record, TabularBenchmark
from autotune.levers import defaults

HOST = Host(
    cpu="made up", cores=(0,), physical_cores=1, memory_gib=8.0,
    devices=(Device("cpu", "cpu", bf16=True),), libc="glibc 2.36", tools=("c++", "python.h"),
)  # fmt: skip

SPEC = """\
study: hills
task: {model: builtin:bert-tiny, dataset: {train: train.jsonl}}
objectives: [train_samples_per_second, accuracy]
space:
  batch_size: [8, 16, 32]
  attention: [eager, sdpa]
  pruning_ratio: [0.0, 0.5]
  learning_rate: [1e-4, 1e-3]
budget: {trials: 100}
sampler: grid
"""

STEPS, EXAMPLES_PER_STEP = 80, 16


def synthetic_benchmark() -> TabularBenchmark:
    """The default and 24 strategies over three levers of speed and three of accuracy."""
    grid = itertools.product([8, 16, 32], ["eager", "sdpa"], [0.0, 0.5], [1e-4, 1e-3])
    baseline = Strategy(defaults(HOST))
    records = [record(baseline, origin=TrialOrigin.DEFAULT)]
    for size, attention, ratio, rate in grid:
        levers = {"batch_size": size, "attention": attention, "pruning_ratio": ratio}
        records.append(record(baseline.with_values(**levers, learning_rate=rate)))
    return TabularBenchmark("hills", tuple(records), SPEC, {"hardware": asdict(HOST)})


def record(strategy: Strategy, origin: str = "sampler") -> Record:
    """A trial with 1 s of setup, 4 or 8 s of training, and 0.75 s of measuring and evaluation."""
    pruned = float(strategy["pruning_ratio"]) > 0
    training = 4.0 if pruned else 8.0
    speed = STEPS * EXAMPLES_PER_STEP / training
    speed *= 1.25 if strategy["attention"] == "sdpa" else 1.0
    accuracy = 0.9 - 0.1 * pruned - 0.001 * int(strategy["batch_size"])
    accuracy -= 0.0 if float(strategy["learning_rate"]) > 5e-4 else 0.05
    values = {
        "train_samples_per_second": speed,
        "setup_seconds": 0.1,
        "peak_memory_gib": 1.0 + 0.1 * int(strategy["batch_size"]),
        "accuracy": accuracy,
        "train_samples": float(STEPS * EXAMPLES_PER_STEP),
        "train_seconds": 0.1 + training,
    }
    return Record(
        strategy,
        seed=0,
        origin=origin,
        state=State.COMPLETE,
        seconds=1.75 + training,
        measurements={n: Measurement(n, v, "", 3, (v * 0.9, v * 1.1)) for n, v in values.items()},
        phases={
            "1 devices": 0.1,
            "3 setup": 0.1,
            "4 reference": 0.125,
            "5 train": training,
            "6 reference": 0.125,
            "7 evaluate": 0.25,
            "8 latency": 0.25,
        },
        curve=tuple(point(share, training / 2, accuracy) for share in (0.05, 0.25, 0.5, 1.0)),
    )


def point(share: float, seconds: float, accuracy: float) -> CurvePoint:
    """A point of the curve; windows take half of the phase, and 25% and 50% are rungs."""
    step = round(share * STEPS)
    scores = {"accuracy": accuracy * (0.5 + share)} if share in (0.25, 0.5) else {}
    return CurvePoint(step, STEPS, step * EXAMPLES_PER_STEP, share * seconds, 1.0, scores)
