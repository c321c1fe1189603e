"""The state of a training run as tensors and JSON: weights, optimizer, masks, random states.

Each rank of a parallel trial has its own part: the local shards of its weights and optimizer
states.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from autotune.trial.effects.offloading import HostOptimizer
from autotune.trial.model_tensors import is_sharded, local_tensor, model_tensors
from autotune.trial.state import TrainState

CPU = torch.device("cpu")


class StateMismatch(Exception):
    """A checkpoint does not have the tensors of this model, or an optimizer has states that cannot
    be written."""


def capture_state(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as tensors in host memory and a JSON document. It is not changed by further
    training only if it is written before."""
    tensors = {f"model.{name}": tensor for name, tensor in model_tensors(state.model).items()}
    numbers: dict[str, Any] = {}
    for name, value in _optimizer_states(state.optimizer):
        if isinstance(value, Tensor):
            tensors[name] = local_tensor(value)
        else:
            numbers[name] = value
    if state.masks is not None:
        tensors |= {f"mask.{i}": local_tensor(mask) for i, mask in enumerate(state.masks.tensors)}
    if state.ranks is not None:
        tensors |= {f"ranks.{name}": t for name, t in state.ranks.capture_state().items()}
    tensors |= {f"random.{name}": tensor for name, tensor in _random_tensors(state.device).items()}
    scaler = state.precision.scaler
    document = {
        "optimizer": numbers,
        "scaler": None if scaler is None else scaler.state_dict(),
        "python": random.getstate(),
        "numpy": _numpy_state(),
    }
    host_tensors = {n: t.detach().to(CPU).contiguous() for n, t in tensors.items()}
    return host_tensors, document


def restore_state(
    state: TrainState, tensors: Mapping[str, Tensor], document: Mapping[str, Any]
) -> None:
    """Set the state to what :func:`capture_state` returned. Call :func:`require_match` first."""
    with torch.no_grad():
        for name, tensor in model_tensors(state.model).items():
            tensor.copy_(tensors[f"model.{name}"])
    _restore_optimizer(state.optimizer, tensors, document["optimizer"])
    if state.masks is not None:
        for index, mask in enumerate(state.masks.tensors):
            local_tensor(mask).copy_(tensors[f"mask.{index}"])
    if state.ranks is not None:
        prefix = "ranks."
        state.ranks.restore_state(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
    if state.precision.scaler is not None:
        state.precision.scaler.load_state_dict(document["scaler"])
    version, internal, gauss = document["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(document["numpy"])
    _restore_random_tensors(tensors, state.device)


def require_match(state: TrainState, tensors: Mapping[str, Tensor]) -> None:
    """Raise :class:`StateMismatch` unless ``tensors`` are the weights and masks of this model, and
    the random states of its devices."""
    expected = {f"model.{name}": tensor for name, tensor in model_tensors(state.model).items()}
    if state.masks is not None:
        expected |= {f"mask.{i}": local_tensor(mask) for i, mask in enumerate(state.masks.tensors)}
    expected |= {f"random.{name}": t for name, t in _random_tensors(state.device).items()}
    names = {name for name in tensors if not name.startswith(("optimizer.", "ranks."))}
    if names != expected.keys():
        raise StateMismatch(f"it lacks or adds {sorted(names ^ expected.keys())[0]}")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
            raise StateMismatch(f"{name} has another shape or type")


# -------------------------------------------------------------------------------- the optimizer


def _inner_optimizer(optimizer: Optimizer) -> Optimizer:
    """The optimizer that has the states of this process: HostOptimizer and ZeRO wrap one."""
    if isinstance(optimizer, HostOptimizer):
        return optimizer.host_optimizer
    inner = getattr(optimizer, "optim", None)
    return inner if isinstance(inner, Optimizer) else optimizer


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_states(optimizer: Optimizer) -> Iterator[tuple[str, Any]]:
    """The optimizer's states with names of the form ``optimizer.<index>.<key>``, where the index is
    that of the parameter."""
    inner = _inner_optimizer(optimizer)
    for index, parameter in enumerate(_parameters(inner)):
        for key, value in inner.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and is_sharded(value) and value.shape != parameter.shape:
                raise StateMismatch(f"the sharded state {key} has not the shape of its weight")
            yield f"optimizer.{index}.{key}", value


def _restore_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Set all states. ``Optimizer.load_state_dict`` would cast them to the type of the weight,
    although Adafactor keeps fp32 states of bf16 weights."""
    if isinstance(optimizer, HostOptimizer):
        optimizer.copy_weights()
    inner = _inner_optimizer(optimizer)
    parameters = _parameters(inner)
    inner.state.clear()
    states = {n: t for n, t in tensors.items() if n.startswith("optimizer.")}
    for name, value in {**states, **numbers}.items():
        _, index, key = name.split(".", 2)
        parameter = parameters[int(index)]
        is_tensor = isinstance(value, Tensor)
        placed = _place_state(value, parameter, key, inner) if is_tensor else value
        inner.state[parameter][key] = placed


def _place_state(value: Tensor, parameter: Tensor, key: str, optimizer: Optimizer) -> Tensor:
    """A state on the device, and with the sharding, that the optimizer gives it: the counter
    ``step`` stays in host memory unless the kernel is fused."""
    if key == "step" and value.ndim == 0 and not optimizer.defaults.get("fused"):
        return value
    value = value.to(local_tensor(parameter).device)
    if not is_sharded(parameter) or value.ndim == 0:
        return value
    from torch.distributed.tensor import DTensor

    assert isinstance(parameter, DTensor)
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(
        value, mesh, placements, shape=parameter.shape, stride=parameter.stride()
    )


# ---------------------------------------------------------------------------------- random states


def _random_tensors(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that a trial on ``device`` uses."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        indices = range(torch.cuda.device_count())
        states |= {f"cuda:{index}": torch.cuda.get_rng_state(index) for index in indices}
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _restore_random_tensors(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            torch.cuda.set_rng_state(tensors[f"random.cuda:{index}"], index)
    elif device.type == "mps":
        torch.mps.set_rng_state(tensors["random.mps"])


def _numpy_state() -> list[Any]:
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return [name, np.asarray(keys).tolist(), position, has_gauss, gauss]
