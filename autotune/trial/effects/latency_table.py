"""How long a layer of an encoder takes on this host with fewer heads or neurons."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from autotune.trial.effects.pruning import neurons_to_keep
from autotune.trial.effects.pruning_plan import keep_heads, keep_neurons
from autotune.trial.encoder import Family, Layer, layer_of

BATCH_SIZE = 8
"""Texts in a batch: with fewer, what every operation takes besides its work hides the sizes."""

NEURON_STEPS = 12
"""Numbers of neurons that are timed, evenly spaced."""

ROUNDS = 12
"""How often each size is timed; the shortest time counts, because other processes only add."""

THREADS = 1
"""Sizes are timed on one thread, in CPU time: on a busy host, the time on the wall is noise."""


@dataclass(frozen=True)
class LatencyTable:
    """Seconds of a whole layer by the number of its heads, and by that of its neurons, where the
    other number is that of the layer."""

    heads: Mapping[int, float]
    neurons: Mapping[int, float]

    @property
    def seconds(self) -> float:
        """Seconds of the layer as it is."""
        return max(*self.heads.values(), *self.neurons.values())


def measure_latencies(module: nn.Module, family: Family, length: int) -> LatencyTable:
    """Time copies of the layer ``module`` for texts of ``length`` tokens, on the CPU in fp32."""
    layer = layer_of(module, family)
    heads = list(range(1, layer.heads + 1))
    shares = [step / NEURON_STEPS for step in range(NEURON_STEPS)]
    neurons = sorted({neurons_to_keep(layer.neurons, share) for share in shares})
    hidden = torch.randn(BATCH_SIZE, length, layer.query.in_features)
    sizes = [(count, layer.neurons) for count in heads] + [(layer.heads, n) for n in neurons]
    seconds = _fastest([_resized(module, family, *size) for size in sizes], hidden)
    by_heads, by_neurons = seconds[: len(heads)], seconds[len(heads) :]
    # More units cannot be faster: what is measured so is noise.
    return LatencyTable(
        dict(zip(heads, np.maximum.accumulate(by_heads).tolist(), strict=True)),
        dict(zip(neurons, np.maximum.accumulate(by_neurons).tolist(), strict=True)),
    )


def _resized(module: nn.Module, family: Family, heads: int, neurons: int) -> nn.Module:
    resized = copy.deepcopy(module)
    layer: Layer = layer_of(resized, family)
    keep_heads(layer, range(heads))
    keep_neurons(layer, range(neurons))
    return resized


@torch.inference_mode()
def _fastest(modules: Sequence[nn.Module], hidden: Tensor) -> list[float]:
    """The shortest of several runs of each module, in turn, after a warm-up."""
    fastest = [float("inf")] * len(modules)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        for round_number in range(ROUNDS + 1):
            for index, module in enumerate(modules):
                start = time.thread_time()
                module(hidden)
                seconds = time.thread_time() - start
                if round_number > 0:
                    fastest[index] = min(fastest[index], seconds)
    finally:
        torch.set_num_threads(threads)
    return fastest
