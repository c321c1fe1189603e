"""Kind ``fsdp``: every rank holds a share of all weights, gradients and optimizer states."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from transformers import PreTrainedModel

from autotune.trial.effects.precision import AUTOCAST
from autotune.trial.encoder import encoder_of


def shard(
    model: PreTrainedModel, mesh: DeviceMesh, *, precision: str, reshard: bool, offload: bool
) -> FSDPModule:
    """Cut the weights of ``model`` up over ``mesh``, in place, to be gathered a layer at a time.

    With ``reshard``, gathered weights go after the forward pass and are gathered again for the
    backward pass: less memory, more traffic. Under ``bf16`` and ``fp16`` weights are cast before
    they travel, half the bytes; gradients are added up in fp32. With ``offload`` weights, gradients
    and optimizer states are in host memory, and the device has a layer or two at a time.
    """
    policy = MixedPrecisionPolicy(
        param_dtype=AUTOCAST.get(precision), reduce_dtype=_sums(precision)
    )
    settings: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": policy,
        "reshard_after_forward": reshard,
        "offload_policy": CPUOffloadPolicy() if offload else OffloadPolicy(),
    }
    for layer in encoder_of(model).holder:
        fully_shard(layer, **settings)
    return fully_shard(model, **settings)


def _sums(precision: str) -> torch.dtype | None:
    return torch.float32 if precision in AUTOCAST else None
