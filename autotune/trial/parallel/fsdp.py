"""Kind ``fsdp``: every rank holds a share of all weights, gradients and optimizer states."""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from transformers import PreTrainedModel

from autotune.trial.encoder import encoder_of
from autotune.trial.precision import AUTOCAST


def shard(model: PreTrainedModel, mesh: DeviceMesh, *, precision: str, reshard: bool) -> FSDPModule:
    """Cut the weights of ``model`` up over ``mesh``, in place, to be gathered a layer at a time.

    With ``reshard``, gathered weights go after the forward pass and are gathered again for the
    backward pass: less memory, more traffic. Under ``bf16`` and ``fp16`` weights are cast before
    they travel, half the bytes; gradients are added up in fp32.
    """
    policy = MixedPrecisionPolicy(
        param_dtype=AUTOCAST.get(precision), reduce_dtype=_sums(precision)
    )
    for layer in encoder_of(model).holder:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)
    return fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)


def _sums(precision: str) -> torch.dtype | None:
    return torch.float32 if precision in AUTOCAST else None
