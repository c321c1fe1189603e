"""What is known of levers before a study measures anything: their effects on accuracy.

The effects are rough averages over published fine-tuning results and the recorded landscapes. A
surrogate uses them as its prior mean, so that measured results replace them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from autotune.domain import Strategy, WorkloadProfile
from autotune.domain.training import num_steps, peak_learning_rate

PRUNING_LOG_ODDS: Mapping[str, float] = {"structured": -1.9, "layers": -1.9, "unstructured": -0.6}
"""Change of the log-odds of accuracy by pruning, for the square of the ratio: a quarter costs
little, more than a half costs much."""

FREEZING_LOG_ODDS = -0.06
"""For each frozen layer; frozen embeddings cost nothing that can be measured."""

PRECISION_LOG_ODDS: Mapping[str, float] = {"bf16-pure": -0.05}
"""For precisions other than fp32; with fp32 weights nothing can be measured."""

RATE_LOG_ODDS = -0.07
"""For the square of the base-2 logarithm of the ratio to the typical learning rate."""

MAX_RATE_DOUBLINGS = 4.0
"""A rate that is farther from the typical one is not expected to be worse."""

TYPICAL_RATE, TYPICAL_WIDTH, TYPICAL_STEPS = 2e-4, 384, 190
"""A learning rate that suits an encoder of this hidden size in this many optimizer steps."""

STEPS_EXPONENT = 0.7
"""Fewer steps need larger rates: the rate is proportional to this power of their inverse."""


def typical_learning_rate(strategy: Strategy, workload: WorkloadProfile) -> float:
    """A learning rate that suits the model and the number of optimizer steps of ``strategy``."""
    steps = workload.steps or num_steps(strategy, workload.train_samples)
    width = (TYPICAL_WIDTH / workload.hidden) ** 2
    return TYPICAL_RATE * width * float((TYPICAL_STEPS / steps) ** STEPS_EXPONENT)


def accuracy_log_odds(strategy: Strategy, workload: WorkloadProfile) -> float:
    """The expected log-odds of the accuracy of ``strategy``, up to a constant of the task."""
    ratio, method = float(strategy["pruning_ratio"]), str(strategy["pruning_method"])
    pruning = PRUNING_LOG_ODDS.get(method, 0.0) * ratio**2
    freezing = FREEZING_LOG_ODDS * min(max(int(strategy["freeze_layers"]) - 1, 0), workload.layers)
    precision = PRECISION_LOG_ODDS.get(str(strategy["precision"]), 0.0)
    rate = peak_learning_rate(strategy) / typical_learning_rate(strategy, workload)
    doublings = min(max(math.log2(rate), -MAX_RATE_DOUBLINGS), MAX_RATE_DOUBLINGS)
    return pruning + freezing + precision + RATE_LOG_ODDS * doublings**2
