"""What a trial holds in memory, added up from the sizes of its model, its batch and its strategy.

A peak is that of its fullest phase: putting the strategy in force, training, or judging. Each phase
is an amount of a few components, in GiB over all processes, which calibration scales one by one.
Activations are counted as in Korthikanti et al. (2022), "Reducing Activation Recomputation in Large
Transformer Models", for what torch keeps on each device.
"""

from __future__ import annotations

import math

from autotune.domain import Strategy, WorkloadProfile
from autotune.search.feasibility.model_states import MemoryKind, offloaded, states
from autotune.search.feasibility.workload_shape import FLOAT, PrunedShape, WorkloadShape

__all__ = ["COMPONENTS", "MemoryKind", "MemoryPhase", "memory_phases"]

COMPONENTS = ("process", "states", "activations", "attention", "kernels")
"""A process before it trains; weights, gradients and optimizer states; what the forward pass keeps
and the backward pass makes; what of that grows with the square of the length; and what is kept of
kernels that were made for batches of one shape."""

MemoryPhase = tuple[float, float, float, float, float]
"""GiB of each of :data:`COMPONENTS`."""

Parts = tuple[float, float, float, float]
"""Bytes in one process of all components but the first."""

GIB = 2**30

LIBRARIES_GIB = 0.15
"""What kernels and thread pools add to an idle process once they are used."""

CUDA_HOST_GIB = 1.5
"""The same where CUDA is used: its context and its libraries' code."""

CUDA_DEVICE_GIB = 0.04
"""Workspaces of matrix kernels on the device."""

COMPILER_GIB = 0.5
SCORED_BATCH = 8
JUDGED_BATCH = {"cpu": 32, "cuda": 256, "mps": 64}
SINGLES = 60
"""Examples whose latency is measured, one at a time."""

KERNEL_BYTES, FORWARD_SHARE = 8 * 2**20, 1 / 3
"""What oneDNN makes and keeps for each shape of a batch in half precision, and the part of it that
the forward pass alone needs. Measured: 8 to 10 MiB for two layers as for six."""

SHAPES = 80
"""Shapes of batches that oneDNN's cache has room for."""


def memory_phases(
    anatomy: WorkloadProfile, strategy: Strategy, where: MemoryKind
) -> tuple[MemoryPhase, ...]:
    """What each phase of a trial holds on the host or on its accelerators, over all processes."""
    sizes = WorkloadShape(anatomy, strategy)
    if where == "host" and sizes.device != "cpu":
        each = [(2 * FLOAT * anatomy.parameters + offloaded(sizes), 0.0, 0.0, 0.0)]
    else:
        each = [_applying(sizes, where), _training(sizes, where), _judging(sizes, where)]
    process, world = _process_gib(sizes, where), sizes.layout.world
    return tuple(
        (world * process, *(world * part / GIB for part in parts))  # type: ignore[misc]
        for parts in each
    )


def _process_gib(sizes: WorkloadShape, where: MemoryKind) -> float:
    if where == "device":
        return CUDA_DEVICE_GIB
    compiler = COMPILER_GIB if sizes.strategy["compile"] else 0.0
    libraries = LIBRARIES_GIB if sizes.device == "cpu" else CUDA_HOST_GIB
    return sizes.anatomy.idle_gib + libraries + compiler


def _applying(sizes: WorkloadShape, where: MemoryKind) -> Parts:
    """Loading, where the file's pages lie beside the weights, and scores that want gradients of the
    whole model."""
    weights = FLOAT * sizes.anatomy.parameters
    if sizes.scored_by_gradients:
        whole = PrunedShape(sizes.anatomy.layers)
        tokens = SCORED_BATCH * sizes.longest
        saved, squares = _layer(sizes, whole, tokens, SCORED_BATCH, dropout=False)
        return 2 * weights, whole.layers * saved, whole.layers * squares, 0.0
    file = weights if where == "host" else 0.0
    ranking = 3 * FLOAT * sizes.linear if sizes.masked else 0.0
    return weights + max(file, ranking), 0.0, 0.0, 0.0


def _training(sizes: WorkloadShape, where: MemoryKind) -> Parts:
    tokens, hidden = sizes.rows * sizes.length, sizes.anatomy.hidden
    saved, squares = _layer(sizes, sizes.kept, tokens, sizes.rows, dropout=sizes.dropout)
    layers = sizes.trained_layers / sizes.stages * sizes.in_flight
    others = tokens * hidden * FLOAT * (2 + sizes.dropout) * sizes.in_flight + _outputs(sizes)
    held, kernels = states(sizes, where), _kernels(sizes, sizes.shapes)
    if sizes.strategy["activation_checkpointing"]:
        inputs = layers * tokens * hidden * sizes.activation_bytes
        again = 2.0  # one layer's, computed once more, and their gradients
        return held, inputs + others + again * saved, again * squares, kernels
    backward = 1.0 if layers else 0.5
    return held, (layers + backward) * saved + others, (layers + backward) * squares, kernels


def _judging(sizes: WorkloadShape, where: MemoryKind) -> Parts:
    """Inference keeps one layer's work, of batches that are the same for all strategies. A model in
    pieces is put together first, in every process."""
    rows = JUDGED_BATCH.get(sizes.device, 32)
    saved, squares = _layer(sizes, sizes.kept, rows * sizes.longest, rows, dropout=False)
    whole = 0.0 if sizes.layout.world == 1 else sizes.weight_bytes * sizes.parameters
    judged = math.ceil(sizes.anatomy.validation_samples / rows) + SINGLES
    shapes = sizes.shapes + FORWARD_SHARE * min(judged, sizes.longest)
    held = states(sizes, where, training=False) + whole
    return held, saved / 2, squares, _kernels(sizes, shapes)


def _layer(
    sizes: WorkloadShape, kept: PrunedShape, tokens: float, rows: float, *, dropout: bool
) -> tuple[float, float]:
    """Bytes that one layer keeps for its backward pass: in proportion to tokens, and to the square
    of the length."""
    anatomy, size = sizes.anatomy, sizes.activation_bytes
    split = sizes.layout.model if sizes.layout.model_kind == "tp" else 1
    by_position = split if sizes.strategy.get("sequence_parallel", False) else 1
    mask = _mask_bytes(sizes) if dropout else 0.0
    heads = 6 * anatomy.hidden * size * kept.heads / split
    neurons = 2 * anatomy.intermediate_size * size * kept.neurons / split
    between = anatomy.hidden * (4 * size + 2 * mask) / by_position
    pairs = tokens * tokens / max(rows, 1)
    scores = _score_bytes(sizes, dropout) * anatomy.heads * kept.heads / split
    return tokens * (heads + neurons + between), pairs * scores


def _score_bytes(sizes: WorkloadShape, dropout: bool) -> float:
    """Bytes of a head's scores for each pair of word pieces. A CPU's fused kernel cannot drop out,
    so that attention is written out there after all."""
    written_out = sizes.strategy["attention"] == "eager" or (dropout and sizes.device == "cpu")
    if not written_out:
        return 0.0
    return sizes.activation_bytes * (2 if dropout else 1) + (_mask_bytes(sizes) if dropout else 0)


def _mask_bytes(sizes: WorkloadShape) -> float:
    """A dropout mask is bytes on CUDA, and numbers elsewhere."""
    return 1.0 if sizes.device == "cuda" else float(sizes.activation_bytes)


def _outputs(sizes: WorkloadShape) -> float:
    judged = sizes.rows * (sizes.length if sizes.anatomy.label_per_token else 1)
    return 3.0 * FLOAT * judged * sizes.anatomy.labels


def _kernels(sizes: WorkloadShape, shapes: float) -> float:
    """On a CPU half precision has kernels made for each shape of a batch, and keeps them; those of
    full precision take any shape."""
    made_to_measure = sizes.device == "cpu" and sizes.precision != "fp32"
    return KERNEL_BYTES * min(shapes, SHAPES) if made_to_measure else 0.0
