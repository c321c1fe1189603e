"""From a model in pieces back to one, and what must be cut along with it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel


def by_mesh(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    """Weights in groups: those that are whole, and those cut over the same ranks."""
    groups: dict[DeviceMesh | None, list[Tensor]] = {}
    for weight in weights:
        mesh = weight.device_mesh if isinstance(weight, DTensor) else None
        groups.setdefault(mesh, []).append(weight)
    return list(groups.values())


def meta_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of ``model`` with weights that take no memory, to be filled in."""
    empty = {
        id(weight): nn.Parameter(
            torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad
        )
        for weight in model.parameters()
    }
    return copy.deepcopy(model, empty)


def materialize(bones: PreTrainedModel, state: dict[str, Tensor]) -> PreTrainedModel:
    """A copy of ``bones`` with the tensors of ``state`` for weights."""
    model = meta_copy(bones)
    model.load_state_dict(state, assign=True)
    return model


def full_state(model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """All weights, whole, on the ``device`` of every rank that has a piece of them. Collective."""
    return {name: _whole(tensor.detach().to(device)) for name, tensor in model.state_dict().items()}


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
