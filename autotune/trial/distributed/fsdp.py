"""Kind ``fsdp``: weights, gradients and optimizer states are sharded over the ranks."""

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
    """Shard the weights of ``model`` over ``mesh`` in place; they are gathered layer by layer.

    With ``reshard``, gathered weights are freed after the forward pass and gathered again for the
    backward pass: less memory, more communication. Under ``bf16`` and ``fp16`` weights are cast
    before they are sent, and gradients are reduced in fp32. With ``offload``, weights, gradients
    and optimizer states are in host memory, and the device holds one or two layers at a time.
    """
    policy = MixedPrecisionPolicy(
        param_dtype=AUTOCAST.get(precision), reduce_dtype=_reduce_dtype(precision)
    )
    settings: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": policy,
        "reshard_after_forward": reshard,
        "offload_policy": CPUOffloadPolicy() if offload else OffloadPolicy(),
    }
    for layer in encoder_of(model).module_list:
        fully_shard(layer, **settings)
    return fully_shard(model, **settings)


def _reduce_dtype(precision: str) -> torch.dtype | None:
    return torch.float32 if precision in AUTOCAST else None
