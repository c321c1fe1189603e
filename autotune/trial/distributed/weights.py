"""Gathers the weights of a sharded model into a complete one."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel


def group_by_mesh(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    """Groups of weights that are sharded over the same ranks; unsharded ones form a group too."""
    groups: dict[DeviceMesh | None, list[Tensor]] = {}
    for weight in weights:
        mesh = weight.device_mesh if isinstance(weight, DTensor) else None
        groups.setdefault(mesh, []).append(weight)
    return list(groups.values())


def meta_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of ``model`` whose weights are on the meta device and take no memory."""
    meta_weights = {
        id(weight): nn.Parameter(
            torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad
        )
        for weight in model.parameters()
    }
    return copy.deepcopy(model, meta_weights)


def materialize(meta_model: PreTrainedModel, state: dict[str, Tensor]) -> PreTrainedModel:
    """A copy of ``meta_model`` with the tensors of ``state`` as weights."""
    model = meta_copy(meta_model)
    model.load_state_dict(state, assign=True)
    return model


def full_state_dict(model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """All weights, unsharded, on the ``device`` of every rank. Collective."""
    return {
        name: _full_tensor(tensor.detach().to(device))
        for name, tensor in model.state_dict().items()
    }


def _full_tensor(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
