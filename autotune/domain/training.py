"""Quantities of a training run that follow from its strategy alone.

Trials, the prediction of memory and time, and exported configurations all use them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from autotune.domain.strategy import OF_TASK, Strategy
from autotune.domain.study import Task

REFERENCE_BATCH_SIZE = 8
"""The batch size to which the lever ``learning_rate`` refers: the default of Trainer."""

EVALUATION_BATCH_SIZES = {"cpu": 32, "cuda": 256, "mps": 64}
MIN_EVALUATION_BATCH_SIZE, MAX_EVALUATION_TOKENS = 8, 2**15
"""Examples per inference batch by device type, and bounds for long texts: 64 of 512 tokens."""

COMPILED_MULTIPLE = 16
"""With torch.compile, lengths are rounded up to a multiple, which suits matrix kernels."""

RUNG_EXAMPLES = 128
"""Validation examples evaluated at a rung: always the same, and so few that a rung takes a
fraction of a second."""

PRUNING_SCORE_EXAMPLES = 64
"""Training examples on which pruning scores heads and neurons."""

PRUNING_SCORE_BATCH_SIZE = 8

PRUNING_TRAINING_STEPS = 64
"""Optimizer steps before heads and neurons are scored, where the lever ``pruning_schedule`` trains,
on batches of :data:`PRUNING_SCORE_BATCH_SIZE`."""

ADALORA_INITIAL_RANKS = 1.5
"""Ranks of a matrix at first with AdaLoRA, relative to those that are left. By default, peft starts
with 12 and leaves 8."""


def task_of(task: Task, strategy: Strategy) -> Task:
    """``task`` with the model and the length of ``strategy``, where they are levers."""
    changes: dict[str, Any] = {}
    if (model := strategy["model"]) != OF_TASK:
        changes["model"] = str(model)
    if (length := strategy["max_length"]) != OF_TASK:
        changes["max_length"] = int(length)
    return replace(task, **changes) if changes else task


def num_steps(strategy: Strategy, num_examples: int) -> int:
    """Optimizer steps of the strategy's epochs over ``num_examples``, at least 1."""
    steps_per_epoch = math.ceil(num_examples / int(strategy["batch_size"]))
    return max(1, math.ceil(float(strategy["epochs"]) * steps_per_epoch))


def sample_basis(task: Task, strategy: Strategy) -> float:
    """What the number of training samples is proportional to between the strategies of ``task``:
    the epochs, or the batch size if the task has a number of steps."""
    return float(strategy["epochs" if task.steps is None else "batch_size"])


def evaluation_interval(every: int | str, strategy: Strategy, num_examples: int) -> int:
    """Optimizer steps from one evaluation to the next, at least 1. ``every`` is a number of steps,
    or a text such as ``0.25 epochs`` over ``num_examples``."""
    if isinstance(every, int):
        return every
    steps_per_epoch = math.ceil(num_examples / int(strategy["batch_size"]))
    return max(1, round(float(every.split()[0]) * steps_per_epoch))


def evaluation_steps(
    every: int | str, strategy: Strategy, num_examples: int, steps: int
) -> frozenset[int]:
    """The optimizer steps of a run of ``steps`` after which it is evaluated."""
    interval = evaluation_interval(every, strategy, num_examples)
    return frozenset({*range(interval, steps, interval), steps})


def num_evaluations(task: Task, strategy: Strategy, num_examples: int) -> int:
    """How often a training run is evaluated before its end, and at its last step."""
    if task.evaluate_every is None:
        return 0
    steps = task.steps or num_steps(strategy, num_examples)
    return len(evaluation_steps(task.evaluate_every, strategy, num_examples, steps))


def peak_learning_rate(strategy: Strategy) -> float:
    """The learning rate of the first step, scaled to the batch size."""
    ratio = int(strategy["batch_size"]) / REFERENCE_BATCH_SIZE
    factors = {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}
    return float(strategy["learning_rate"]) * factors[str(strategy["learning_rate_scaling"])]


def evaluation_batch_size(device_type: str, longest: int) -> int:
    """Examples per inference batch on ``cpu``, ``cuda`` or ``mps``, where the longest example has
    ``longest`` tokens: the same for all strategies, for comparison."""
    rows = EVALUATION_BATCH_SIZES[device_type]
    return min(rows, max(MIN_EVALUATION_BATCH_SIZE, MAX_EVALUATION_TOKENS // max(longest, 1)))
