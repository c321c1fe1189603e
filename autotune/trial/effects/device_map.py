"""Lever ``placement``: one model over several devices, within one process.

The devices work one after the other, so this brings no speed: it is for models and batches that one
device cannot hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.trial.encoder import Encoder, encoder_of

CPU = torch.device("cpu")
TIMED_SHAPE = (4, 64)
TIMED_CALLS = 3


def dispatch_model(model: PreTrainedModel, placement: str, devices: Sequence[torch.device]) -> None:
    """Move the parts of ``model`` to where ``placement`` wants them; hidden states follow.

    ``devices`` are those that layers may lie on, in their order; the first is where batches come
    and logits go. ``embeddings-on-cpu`` moves nothing but the embeddings, whose tables are large
    and whose work is small.
    """
    encoder = encoder_of(model)
    home = devices[0]
    if placement == "embeddings-on-cpu":
        places = [home] * len(encoder.holder)
        before = CPU
    else:
        places = _by_device(encoder, placement, devices)
        before = home
    for module in encoder.embeddings:
        _put(module, before)
    for layer, place in zip(encoder.holder, places, strict=True):
        _put(layer, place)
    # What follows the layers, within the base model and behind it, is where the model was.
    encoder.holder[-1].register_forward_hook(_moved_back(home))


def _put(module: nn.Module, device: torch.device) -> None:
    """Move ``module`` to ``device``, and whatever it is called with before it runs."""
    module.to(device)
    module.register_forward_pre_hook(_moved_to(device), with_kwargs=True)


def _moved_to(device: torch.device) -> Callable[..., Any]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _on(args, device), _on(kwargs, device)

    return hook


def _moved_back(device: torch.device) -> Callable[..., Any]:
    return lambda _, args, output: _on(output, device)


def _on(value: Any, device: torch.device) -> Any:
    """``value`` with every tensor in it on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return type(value)(_on(one, device) for one in value)
    if isinstance(value, dict):  # transformers' outputs are dictionaries too
        for name in list(value):
            value[name] = _on(value[name], device)
    return value


def _by_device(
    encoder: Encoder, placement: str, devices: Sequence[torch.device]
) -> list[torch.device]:
    sizes = [sum(p.nbytes for p in layer.parameters()) for layer in encoder.holder]
    if placement == "split:time":
        capacities = [_layer_speed(encoder, device) for device in devices]
    else:
        capacities = [_free_bytes(device) for device in devices]
    shares = proportional([float(size) for size in sizes], capacities)
    return [device for device, share in zip(devices, shares, strict=True) for _ in share]


def speed(model: PreTrainedModel) -> float:
    """Layers per second, forward and backward, where the model is."""
    return _layer_speed(encoder_of(model), model.device)


def _layer_speed(encoder: Encoder, device: torch.device) -> float:
    """Layers per second, forward and backward."""
    with undisturbed(device):
        return 1 / timed_layer(encoder, encoder.holder[0].to(device))


def undisturbed(device: torch.device) -> AbstractContextManager[None]:
    """A context in which dropout on ``device`` draws numbers that nobody will miss."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def timed_layer(encoder: Encoder, layer: nn.Module) -> float:
    """Seconds of a forward and backward pass of ``layer``, one of the encoder's, where it is."""
    width = encoder.layers[0].ffn_in.in_features
    weight = next(layer.parameters())
    hidden = torch.randn(*TIMED_SHAPE, width, device=weight.device, dtype=weight.dtype)
    return timed(layer, hidden.requires_grad_())


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)


def timed(module: nn.Module, given: Tensor) -> float:
    """Seconds of a forward and, where there is one, backward pass: the best of a few. It leaves no
    gradients in ``module``."""
    times = []
    for _ in range(TIMED_CALLS):
        begun = time.perf_counter()
        output = module(given)
        if output.requires_grad:
            output.float().sum().backward()
        if given.device.type == "cuda":
            torch.cuda.synchronize(given.device)
        times.append(time.perf_counter() - begun)
        module.zero_grad(set_to_none=True)
    return min(times)


def proportional(costs: Sequence[float], capacities: Sequence[float]) -> list[range]:
    """Neighbouring items for each of several holders, so that what each gets is as near as can be
    to its share of ``capacities``."""
    total, whole = sum(costs), sum(capacities)
    ends, held, wanted = [0], 0.0, 0.0
    for capacity in capacities[:-1]:
        wanted += total * capacity / whole
        end = ends[-1]
        while end < len(costs) and held + costs[end] / 2 <= wanted:
            held += costs[end]
            end += 1
        ends.append(end)
    ends.append(len(costs))
    return [range(start, end) for start, end in pairwise(ends)]
