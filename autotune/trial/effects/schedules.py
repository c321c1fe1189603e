"""Levers ``lr_scheduler`` and ``warmup_ratio``: the schedules of transformers, as in Trainer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from autotune.domain import Strategy
from autotune.domain.schedule import Schedule, schedule_of

RateFactors = Callable[[int], float]
"""The share of the peak learning rate at a step, counted from 0."""


def make_scheduler(strategy: Strategy, optimizer: Optimizer, steps: int) -> LambdaLR:
    """The scheduler of a training run of ``steps``, for a trainer that steps it."""
    return _build(schedule_of(strategy, steps), optimizer, steps)


def rate_factors(schedule: Schedule, steps: int) -> RateFactors:
    """The schedule as a function of the step, for a run that can continue anywhere."""
    weight = torch.zeros(1, requires_grad=True)
    factors: RateFactors = _build(schedule, SGD([weight], lr=1.0), steps).lr_lambdas[0]
    return factors


def _build(schedule: Schedule, optimizer: Optimizer, steps: int) -> LambdaLR:
    scheduler: LambdaLR = get_scheduler(
        schedule.name,
        optimizer,
        num_warmup_steps=schedule.warmup_steps,
        num_training_steps=steps,
        scheduler_specific_kwargs=dict(schedule.arguments),
    )
    return scheduler
