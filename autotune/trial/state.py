"""The state of a training run: model, optimizer, precision and process group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from autotune.trial.data.activations import Activations
from autotune.trial.data.batching import Indices
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.effects.adapters import merged_copy
from autotune.trial.effects.optimizers import MAX_GRADIENT_NORM
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.effects.rank_allocation import RankAllocation
from autotune.trial.loss import Loss
from autotune.trial.plan import TrainingPlan


class DistributedModel(Protocol):
    """A model whose computation or weights are distributed over the ranks of a process group."""

    def step(self, state: TrainState, plan: TrainingPlan, rows: Indices, rate: float) -> Tensor:
        """Take one optimizer step over a global batch; return this rank's part of its loss."""

    def unsharded(self) -> PreTrainedModel:
        """The complete model with its current weights, in every process."""


@dataclass(frozen=True)
class TrainState:
    """A model to which a strategy has been applied, ready to train.

    Training calls ``forward``: the model or its compiled form, which share their weights. In a
    distributed trial ``distributed`` takes the optimizer steps and ``model`` is this rank's part.
    Gradients are clipped to ``max_gradient_norm``, or not at all if it is 0. With ``activations``,
    ``forward`` is only the trained layers, and training batches are made of these outputs of the
    frozen ones.
    """

    model: PreTrainedModel
    forward: Callable[..., Any]
    optimizer: Optimizer
    precision: Precision
    peak_learning_rate: float
    masks: Masks | None
    device: torch.device
    loss: Loss
    group: ProcessGroup = field(default_factory=SingleProcess)
    distributed: DistributedModel | None = None
    max_gradient_norm: float = MAX_GRADIENT_NORM
    has_adapter: bool = False
    ranks: RankAllocation | None = None
    activations: Activations | None = None

    def unsharded(self) -> TrainState:
        """This state with the complete model, adapters merged, for evaluation."""
        if self.has_adapter:
            model = merged_copy(self.model)
            return replace(self, model=model, forward=model, has_adapter=False)
        if self.distributed is None:
            return self
        model = self.distributed.unsharded()
        return replace(self, model=model, forward=model, distributed=None)
