"""The tensors of a model in this process: weights and persistent buffers, or this rank's shards."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Weights and persistent buffers of this process by name, each once."""
    names: dict[int, str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in names:
            names[id(tensor)] = name
            tensors[name] = local_tensor(tensor)
    return tensors


def local_tensor(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor that this process holds; other tensors as they are."""
    # Duck-typed: the import of torch.distributed would slow down trials of one process.
    any_tensor: Any = tensor
    local = any_tensor.to_local() if is_sharded(tensor) else any_tensor
    detached: Tensor = local.detach()
    return detached


def is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")
