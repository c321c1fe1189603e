"""Kinds ``ddp`` and ``zero1``: every rank has the complete model and trains on its own examples."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.domain.training import peak_learning_rate
from autotune.trial.distributed.collectives import DistributedGroup
from autotune.trial.effects import optimizers
from autotune.trial.effects.parameter_groups import parameter_groups
from autotune.trial.encoder import FAMILIES


def replicate(
    strategy: Strategy,
    model: PreTrainedModel,
    forward: Callable[..., Any],
    group: DistributedGroup,
) -> DistributedDataParallel:
    """Wrap ``forward``, which is ``model`` or its compiled form, to average its gradients during
    the backward pass.

    Models of some families have weights without a gradient, such as poolers that no head reads.
    They are looked for at each step, as ``Trainer`` does it, which takes time.
    """
    assert isinstance(forward, nn.Module)
    has_unused = model.config.model_type not in FAMILIES
    options: dict[str, Any] = {
        _buffer_option(): False,
        "find_unused_parameters": has_unused and not strategy["activation_checkpointing"],
    }
    return DistributedDataParallel(
        forward,
        process_group=group.data_group,
        bucket_cap_mb=int(strategy["ddp_bucket_mib"]),
        gradient_as_bucket_view=True,
        **options,
    )


def _buffer_option() -> str:
    """The argument that sends buffers in each forward pass; torch before 2.13 has another name."""
    parameters = signature(DistributedDataParallel).parameters
    names = ("forward_sync_buffers", "broadcast_buffers")
    return next(name for name in names if name in parameters)


def sharded_optimizer(
    strategy: Strategy, model: PreTrainedModel, group: DistributedGroup
) -> Optimizer:
    """The optimizer with sharded states: each rank updates its share of the weights and sends them
    to the others."""
    name, rate = str(strategy["optimizer"]), peak_learning_rate(strategy)
    optimizer_class, settings = optimizers.optimizer_settings(name, rate)
    return ZeroRedundancyOptimizer(
        parameter_groups(strategy, model),
        optimizer_class=optimizer_class,
        process_group=group.data_group,
        **settings,
    )
