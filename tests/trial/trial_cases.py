"""Tiny trials and their parts, for the tests of the trial's main flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_files import tiny, write_splits
from tiny_encoders import tiny_model
from torch import nn

from autotune import levers
from autotune.domain import Device, Host, Job, Limits, Strategy
from autotune.domain.tasks import TASK_KINDS
from autotune.trial.data.batching import Collator
from autotune.trial.effects.optimizers import optimizer_settings, trainable_parameters
from autotune.trial.effects.precision import Precision
from autotune.trial.loss import Loss, cross_entropy
from autotune.trial.plan import TrainingPlan
from autotune.trial.split import Split
from autotune.trial.state import TrainState

CPU = torch.device("cpu")

CROSS_ENTROPY = Loss(TASK_KINDS["text-classification"], cross_entropy)
HOST = Host(cpu=None, cores=(0,), physical_cores=1, memory_gib=8, devices=(Device("cpu", "cpu"),))


def build_optimizer(name: str, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    optimizer_class, settings = optimizer_settings(name, rate)
    return optimizer_class(trainable_parameters(model), **settings)


def make_strategy(**values: Any) -> Strategy:
    """The defaults on one core, with some levers set."""
    return Strategy(levers.defaults(HOST)).with_values(**values)


def make_job(folder: Path, *, settings: dict[str, Any] | None = None, **values: Any) -> Job:
    """A trial of ``builtin:bert-tiny`` on 24 examples written to ``folder``."""
    task = tiny(write_splits(folder), **(settings or {}))
    strategy = make_strategy(**values)
    resources = levers.required_resources(strategy)
    return Job("study", 0, strategy, task, 0, resources, Limits(), str(folder), 1.0)


def make_split(
    count: int = 20,
    *,
    by_token: bool = False,
    shortest: int = 3,
    longest: int = 12,
    classes: int = 3,
) -> Split:
    """Random examples of different lengths."""
    rng = np.random.default_rng(7)
    lengths = rng.integers(shortest, longest + 1, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = rng.integers(5, 50, offsets[-1]).astype(np.int32)
    labels = rng.integers(0, classes, offsets[-1] if by_token else count)
    return Split(tokens, offsets, labels)


def make_collator(split: Split, **settings: Any) -> Collator:
    return Collator(split, pad_token_id=0, device=CPU, **settings)


def make_state(
    kind: str = "bert", *, optimizer: str = "adamw-fused", rate: float = 1e-3
) -> TrainState:
    """A tiny model without dropout, ready to train in fp32."""
    model = tiny_model(kind)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    built_optimizer = build_optimizer(optimizer, model, rate)
    precision = Precision("fp32", CPU)
    return TrainState(model, model, built_optimizer, precision, rate, None, CPU, CROSS_ENTROPY)


def make_plan(
    collate: Collator, steps: int, batch: int = 4, micro: int | None = None
) -> TrainingPlan:
    return TrainingPlan(collate, steps, batch, micro or batch, "dynamic", seed=0)
