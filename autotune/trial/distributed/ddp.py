"""Kinds ``ddp`` and ``zero1``: every rank has the whole model and trains it on its own examples."""

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
    run: Callable[..., Any], group: DistributedGroup, bucket_mib: int
) -> DistributedDataParallel:
    """Wrap a model, compiled or not, so that its gradients are averaged while the backward pass
    goes on, ``bucket_mib`` at a time."""
    assert isinstance(run, nn.Module)
    return DistributedDataParallel(
        run,
        process_group=group.over_data,
        bucket_cap_mb=bucket_mib,
        gradient_as_bucket_view=True,
        forward_sync_buffers=False,
    )


def sharded_optimizer(
    name: str, model: nn.Module, rate: float, group: DistributedGroup
) -> Optimizer:
    """The optimizer with its states dealt out: each rank steps its share of the weights and sends
    them to the others."""
    kind, settings = optimizers.choose(name, rate)
    return ZeroRedundancyOptimizer(
        optimizers.trained(model),
        optimizer_class=kind,
        process_group=group.over_data,
        **settings,
    )
