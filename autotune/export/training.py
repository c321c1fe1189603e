"""What trainers call the levers of optimisation, computed from a strategy."""

from __future__ import annotations

import math

from autotune.domain import Strategy
from autotune.export.parallelism import replicas

REFERENCE_BATCH = 8
"""The batch size for which a learning rate is meant as it is, as in a trial."""


def micro_batch(strategy: Strategy) -> int:
    """Examples per forward and backward of one process."""
    own = max(1, int(strategy["batch_size"]) // replicas(strategy))
    micro = strategy["micro_batch_size"]
    return own if micro == "full" else min(own, int(micro))


def accumulation(strategy: Strategy) -> int:
    """Micro-batches per optimizer step of one process."""
    return int(strategy["batch_size"]) // (micro_batch(strategy) * replicas(strategy))


def steps(strategy: Strategy, examples: int) -> int:
    """Optimizer steps in the strategy's epochs over ``examples``."""
    per_epoch = math.ceil(examples / int(strategy["batch_size"]))
    return max(1, math.ceil(float(strategy["epochs"]) * per_epoch))


def peak_rate(strategy: Strategy) -> float:
    """The learning rate of the first step, scaled to the batch size."""
    ratio = int(strategy["batch_size"]) / REFERENCE_BATCH
    factors = {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}
    return float(strategy["learning_rate"]) * factors[str(strategy["learning_rate_scaling"])]
