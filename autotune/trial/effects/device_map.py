"""Lever ``placement``: one model over several devices, within one process.

The devices work one after the other, so this does not speed training up. It is for models and
batches that do not fit on one device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.hardware.container import available_memory_bytes
from autotune.trial.encoder import Encoder, encoder_of

CPU = torch.device("cpu")
TIMED_SHAPE = (4, 64)
"""Batch size and length of the input on which layers are timed."""

TIMED_CALLS = 3


def dispatch_model(model: PreTrainedModel, placement: str, devices: Sequence[torch.device]) -> None:
    """Move the parts of ``model`` to the devices of ``placement``; hooks move hidden states along.

    Layers are assigned to ``devices`` in order. The first one takes the batches and returns the
    logits. ``embeddings-on-cpu`` moves only the embeddings, which are large and cheap to compute.
    """
    encoder = encoder_of(model)
    main_device = devices[0]
    if placement == "embeddings-on-cpu":
        layer_devices = [main_device] * len(encoder.module_list)
        embedding_device = CPU
    else:
        layer_devices = _layer_devices(encoder, placement, devices)
        embedding_device = main_device
    for module in encoder.embeddings:
        _move(module, embedding_device)
    for layer, device in zip(encoder.module_list, layer_devices, strict=True):
        _move(layer, device)
    # Pooler and head stay on the main device.
    encoder.module_list[-1].register_forward_hook(_output_mover(main_device))


def _move(module: nn.Module, device: torch.device) -> None:
    """Move ``module`` to ``device``, and its arguments before each forward pass."""
    module.to(device)
    module.register_forward_pre_hook(_input_mover(device), with_kwargs=True)


def _input_mover(device: torch.device) -> Callable[..., Any]:
    def move_inputs(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _to_device(args, device), _to_device(kwargs, device)

    return move_inputs


def _output_mover(device: torch.device) -> Callable[..., Any]:
    return lambda _, args, output: _to_device(output, device)


def _to_device(value: Any, device: torch.device) -> Any:
    """``value`` with all tensors in it moved to ``device``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return type(value)(_to_device(item, device) for item in value)
    if isinstance(value, dict):  # includes the output classes of transformers
        for name in list(value):
            value[name] = _to_device(value[name], device)
    return value


def _layer_devices(
    encoder: Encoder, placement: str, devices: Sequence[torch.device]
) -> list[torch.device]:
    """The device of each layer: in proportion to speed (``split:time``) or to free memory."""
    sizes = [sum(p.nbytes for p in layer.parameters()) for layer in encoder.module_list]
    if placement == "split:time":
        capacities = [_layers_per_second(encoder, device) for device in devices]
    else:
        capacities = [_free_bytes(device) for device in devices]
    shares = split_proportionally([float(size) for size in sizes], capacities)
    return [device for device, share in zip(devices, shares, strict=True) for _ in share]


def layers_per_second(model: PreTrainedModel) -> float:
    """Layers per second, forward and backward, on the model's device."""
    return _layers_per_second(encoder_of(model), model.device)


def _layers_per_second(encoder: Encoder, device: torch.device) -> float:
    with preserve_rng(device):
        return 1 / time_layer(encoder, encoder.module_list[0].to(device))


def preserve_rng(device: torch.device) -> AbstractContextManager[None]:
    """Restore the random state on exit, so that timing does not change the trial's dropout."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def time_layer(encoder: Encoder, layer: nn.Module) -> float:
    """Seconds of a forward and backward pass of ``layer`` of ``encoder``, on its device."""
    width = encoder.layers[0].ffn_in.in_features
    weight = next(layer.parameters())
    hidden = torch.randn(*TIMED_SHAPE, width, device=weight.device, dtype=weight.dtype)
    return time_module(layer, hidden.requires_grad_())


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return available_memory_bytes()


def time_module(module: nn.Module, inputs: Tensor) -> float:
    """Seconds of a forward pass and, if it has one, backward pass: the minimum of
    :data:`TIMED_CALLS`. Leaves no gradients in ``module``."""
    times = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        output = module(inputs)
        if output.requires_grad:
            output.float().sum().backward()
        if inputs.device.type == "cuda":
            torch.cuda.synchronize(inputs.device)
        times.append(time.perf_counter() - start)
        module.zero_grad(set_to_none=True)
    return min(times)


def split_proportionally(costs: Sequence[float], capacities: Sequence[float]) -> list[range]:
    """Split items into consecutive ranges, one for each capacity, whose total costs are as close
    as possible to proportional to ``capacities``."""
    total_cost, total_capacity = sum(costs), sum(capacities)
    ends, assigned, target = [0], 0.0, 0.0
    for capacity in capacities[:-1]:
        target += total_cost * capacity / total_capacity
        end = ends[-1]
        while end < len(costs) and assigned + costs[end] / 2 <= target:
            assigned += costs[end]
            end += 1
        ends.append(end)
    ends.append(len(costs))
    return [range(start, end) for start, end in pairwise(ends)]
