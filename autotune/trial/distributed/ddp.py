"""Kinds ``ddp`` and ``zero1``: every rank has the complete model and trains on its own examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from autotune.trial.distributed.collectives import DistributedGroup
from autotune.trial.effects import optimizers


def replicate(
    forward: Callable[..., Any], group: DistributedGroup, bucket_mib: int
) -> DistributedDataParallel:
    """Wrap a model, compiled or not, to average its gradients during the backward pass, in buckets
    of ``bucket_mib``."""
    assert isinstance(forward, nn.Module)
    return DistributedDataParallel(
        forward,
        process_group=group.data_group,
        bucket_cap_mb=bucket_mib,
        gradient_as_bucket_view=True,
        forward_sync_buffers=False,
    )


def sharded_optimizer(
    name: str, model: nn.Module, rate: float, group: DistributedGroup
) -> Optimizer:
    """The optimizer with sharded states: each rank updates its share of the weights and sends them
    to the others."""
    optimizer_class, settings = optimizers.optimizer_settings(name, rate)
    return ZeroRedundancyOptimizer(
        optimizers.trainable_parameters(model),
        optimizer_class=optimizer_class,
        process_group=group.data_group,
        **settings,
    )
