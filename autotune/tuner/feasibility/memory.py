"""Memory of a trial, computed from the sizes of its model, its batches and its strategy.

A trial has three footprints: model set-up, training and evaluation. The peak is the largest one. A
footprint is the GiB of each of :data:`COMPONENTS`, summed over processes; the memory model scales
the components one by one. Activations are counted as in Korthikanti et al. (2022), "Reducing
Activation Recomputation in Large Transformer Models", for what torch keeps on each device.
"""

from __future__ import annotations

import math
from typing import Literal

from autotune.domain import Strategy, WorkloadProfile
from autotune.domain.host import GIB
from autotune.domain.training import PRUNING_SCORE_BATCH_SIZE, evaluation_batch_size
from autotune.levers import required_resources
from autotune.levers.model_shape import ModelShape
from autotune.tuner.feasibility.shapes import FLOAT_BYTES, WorkloadShape

MemoryKind = Literal["host", "device"]

COMPONENTS = ("process", "states", "activations", "attention", "kernels")
"""The process before it trains; weights, gradients and optimizer states; activations that grow
linearly with the length, and their gradients; activations that grow with its square; and cached
kernels for batches of one shape."""

MemoryFootprint = tuple[float, float, float, float, float]
"""GiB of each of :data:`COMPONENTS`."""

ProcessBytes = tuple[float, float, float, float]
"""Bytes in one process of all components but the first."""

LIBRARIES_GIB = 0.15
"""Kernels and thread pools, beyond an idle process."""

CUDA_HOST_GIB = 1.5
"""The same with CUDA: its context and the code of its libraries."""

CUDA_DEVICE_GIB = 0.04
"""Workspaces of matrix kernels in GPU memory."""

COMPILER_GIB = 0.5
LATENCY_SAMPLES = 60
"""Samples whose latency is measured one by one."""

KERNEL_BYTES, FORWARD_SHARE = 8 * 2**20, 1 / 3
"""Kernels that oneDNN caches for each batch shape in half precision, and the share that the forward
pass needs. Measured: 8 to 10 MiB, with two layers as with six."""

MAX_CACHED_SHAPES = 80
"""Batch shapes that oneDNN's cache holds."""

STATES_PER_PARAMETER = {"adamw": 2.0, "adamw-fused": 2.0, "sgd": 1.0, "adafactor": 0.02}
"""Numbers that an optimizer keeps per parameter; Adafactor keeps rows and columns."""

TRAINING_COPIES = 4
"""Weights, gradients and the states of AdamW, relative to the weights."""

STEP_COPIES = {"adamw": 2.0, "adamw-fused": 0.0, "sgd": 0.0, "adafactor": 3.0}
"""Temporary copies of the largest tensor during a step."""


def memory_footprints(
    profile: WorkloadProfile, strategy: Strategy, kind: MemoryKind
) -> tuple[MemoryFootprint, ...]:
    """The footprints of a trial in host memory or in GPU memory, over all processes."""
    workload = WorkloadShape(profile, strategy)
    if kind == "host" and workload.device != "cpu":
        weights = 2 * FLOAT_BYTES * workload.profile.parameters
        kept = _offloaded_bytes(workload) + _cached_bytes(workload) + _embedding_bytes(workload)
        footprints = [(weights + kept, 0.0, 0.0, 0.0)]
    else:
        footprints = [
            _setup_bytes(workload, kind),
            _training_bytes(workload, kind),
            _evaluation_bytes(workload, kind),
        ]
    process, world = _process_gib(workload, kind), _num_processes(workload, kind)
    return tuple(
        (world * process, *(world * component / GIB for component in components))  # type: ignore[misc]
        for components in footprints
    )


def _num_processes(workload: WorkloadShape, kind: MemoryKind) -> int:
    """With ``placement: mixed``, the last process computes on the CPU."""
    world = workload.layout.world
    if kind == "device" and workload.strategy.get("placement", "single") == "mixed":
        return min(world, len(required_resources(workload.strategy).devices))
    return world


def _process_gib(workload: WorkloadShape, kind: MemoryKind) -> float:
    if kind == "device":
        return CUDA_DEVICE_GIB
    compiler = COMPILER_GIB if workload.strategy["compile"] else 0.0
    libraries = LIBRARIES_GIB if workload.device == "cpu" else CUDA_HOST_GIB
    return workload.profile.idle_gib + libraries + compiler


def _setup_bytes(workload: WorkloadShape, kind: MemoryKind) -> ProcessBytes:
    """Loading, with the pages of the file next to the weights, and pruning scores, which need
    gradients of the unpruned model, or its training."""
    weights = FLOAT_BYTES * workload.profile.parameters
    if workload.model.has_gradient_scores:
        unpruned = ModelShape(workload.profile.layers)
        tokens = PRUNING_SCORE_BATCH_SIZE * workload.longest_sample
        linear, quadratic = _layer_bytes(workload, unpruned, tokens, PRUNING_SCORE_BATCH_SIZE)
        copies = TRAINING_COPIES if workload.model.trains_unpruned else 2
        return copies * weights, unpruned.layers * linear, unpruned.layers * quadratic, 0.0
    file = weights if kind == "host" else 0.0
    ranking = 3 * FLOAT_BYTES * workload.layer_parameters if workload.model.has_masks else 0.0
    return weights + max(file, ranking), 0.0, 0.0, 0.0


def _training_bytes(workload: WorkloadShape, kind: MemoryKind) -> ProcessBytes:
    model, hidden = workload.model, workload.profile.hidden
    tokens, in_flight = workload.rows * workload.longest_batch, workload.microbatches_in_flight
    linear, quadratic = _layer_bytes(workload, model, tokens, workload.rows)
    layers = model.trained_layers / workload.stages * in_flight
    embeddings = tokens * hidden * FLOAT_BYTES * (2 + model.has_dropout) * in_flight
    others = embeddings + _output_bytes(workload)
    states = _state_bytes(workload, kind)
    kernels = _kernel_bytes(workload, workload.batch_lengths)
    if model.recomputes_activations:
        inputs = layers * tokens * hidden * workload.activation_bytes
        recomputed = 2.0  # one layer's activations, recomputed, and their gradients
        return states, inputs + others + recomputed * linear, recomputed * quadratic, kernels
    backward = 1.0 if layers else 0.5
    activations = (layers + backward) * linear + others
    return states, activations, (layers + backward) * quadratic, kernels


def _evaluation_bytes(workload: WorkloadShape, kind: MemoryKind) -> ProcessBytes:
    """Inference keeps one layer's activations, in batches of the same size for all strategies. A
    sharded model is gathered first, in every process."""
    rows = evaluation_batch_size(workload.device, workload.longest_sample)
    tokens = rows * workload.longest_sample
    linear, quadratic = _layer_bytes(workload, workload.model, tokens, rows, training=False)
    is_sharded = workload.layout.world > 1
    gathered = workload.weight_bytes * workload.parameters if is_sharded else 0.0
    batches = math.ceil(workload.profile.validation_samples / rows) + LATENCY_SAMPLES
    shapes = workload.batch_lengths + FORWARD_SHARE * min(batches, workload.longest_sample)
    states = _state_bytes(workload, kind, training=False) + gathered
    return states, linear / 2, quadratic, _kernel_bytes(workload, shapes)


# ------------------------------------------------------------------------------------ activations


def _layer_bytes(
    workload: WorkloadShape, model: ModelShape, tokens: float, rows: float, *, training: bool = True
) -> tuple[float, float]:
    """Bytes that one layer keeps for its backward pass: linear and quadratic in the length."""
    profile, size = workload.profile, workload.activation_bytes
    has_dropout = model.has_dropout and training
    shards = workload.layout.model if workload.layout.model_kind == "tp" else 1
    sequence_shards = shards if workload.strategy.get("sequence_parallel", False) else 1
    mask = _mask_bytes(workload) if has_dropout else 0.0
    attention = 6 * profile.hidden * size * model.heads / shards
    feed_forward = 2 * profile.intermediate_size * size * model.intermediate / shards
    residual = profile.hidden * (4 * size + 2 * mask) / sequence_shards
    pairs = tokens * tokens / max(rows, 1)
    scores = _score_bytes(workload, has_dropout) * profile.heads * model.heads / shards
    factor = model.activations
    return factor * (tokens * (attention + feed_forward + residual)), factor * (pairs * scores)


def _score_bytes(workload: WorkloadShape, has_dropout: bool) -> float:
    """Bytes of a head's scores per pair of tokens. The fused kernel of a CPU has no dropout, so
    attention falls back to separate operations there."""
    is_fused = workload.strategy["attention"] != "eager" and workload.profile.has_fused_attention
    if is_fused and not (has_dropout and workload.device == "cpu"):
        return 0.0
    size, mask = workload.activation_bytes, _mask_bytes(workload)
    return size * (2 if has_dropout else 1) + (mask if has_dropout else 0)


def _mask_bytes(workload: WorkloadShape) -> float:
    """An element of a dropout mask: one byte on CUDA, a number elsewhere."""
    return 1.0 if workload.device == "cuda" else float(workload.activation_bytes)


def _output_bytes(workload: WorkloadShape) -> float:
    labels_per_row = workload.longest_batch if workload.profile.label_per_token else 1
    outputs = workload.rows * labels_per_row
    return 3.0 * FLOAT_BYTES * outputs * workload.profile.labels


def _kernel_bytes(workload: WorkloadShape, shapes: float) -> float:
    """On a CPU, oneDNN builds and caches half-precision kernels per batch shape; those of full
    precision take any shape."""
    has_kernels_per_shape = workload.device == "cpu" and workload.precision != "fp32"
    return KERNEL_BYTES * min(shapes, MAX_CACHED_SHAPES) if has_kernels_per_shape else 0.0


# ----------------------------------------------------------------------------------- model states


def _state_bytes(workload: WorkloadShape, kind: MemoryKind, *, training: bool = True) -> float:
    """Bytes of weights, gradients and optimizer states, on average over processes. Gradients are
    released after ``training``."""
    strategy, layout = workload.strategy, workload.layout
    optimizer, offload = str(strategy["optimizer"]), str(strategy.get("offload", "none"))
    parameters, trained = workload.parameters, workload.trained_parameters
    if kind == "device" and _has_embeddings_on_cpu(workload):
        parameters -= workload.profile.embedding_parameters
        trained -= workload.profile.embedding_parameters * (workload.model.frozen == 0)
    weights = workload.weight_bytes * parameters
    gradients = workload.weight_bytes * trained * training
    is_autocast = workload.precision in ("bf16", "fp16")
    casts = 2.0 * workload.layer_parameters if is_autocast else 0.0
    masks = workload.layer_parameters if workload.model.has_masks else 0.0
    has_rounded = workload.model.rounds_weights and training
    rounded = FLOAT_BYTES * workload.layer_parameters if has_rounded else 0.0  # for backward
    cached = _cached_bytes(workload) if kind == "host" else 0.0
    states = STATES_PER_PARAMETER[optimizer] * workload.weight_bytes * trained
    if kind == "device" and offload == "optimizer":
        states = 0.0
    if layout.data_kind == "zero1":
        states /= layout.data
    total = (weights + gradients + states + casts + masks + rounded + cached) / layout.model
    if layout.data_kind == "fsdp" or offload == "parameters":
        total = _sharded_bytes(workload, kind, total, (weights + casts) / layout.model)
    largest = _largest_tensor(workload, kind)
    return total + STEP_COPIES[optimizer] * largest / layout.model * training


def _has_embeddings_on_cpu(workload: WorkloadShape) -> bool:
    return workload.strategy.get("placement", "single") == "embeddings-on-cpu"


def _embedding_bytes(workload: WorkloadShape) -> float:
    """Bytes in host memory of embeddings that are kept there, with what training adds to them."""
    if not _has_embeddings_on_cpu(workload):
        return 0.0
    is_trained = workload.model.frozen == 0
    states = 1 + STATES_PER_PARAMETER[str(workload.strategy["optimizer"])]
    copies = 1 + states * is_trained
    return copies * workload.weight_bytes * workload.profile.embedding_parameters


def _offloaded_bytes(workload: WorkloadShape) -> float:
    """Bytes that a trial on an accelerator keeps in host memory."""
    offload = workload.strategy.get("offload", "none")
    if offload == "optimizer":
        copies = 2 + STATES_PER_PARAMETER[str(workload.strategy["optimizer"])]
        return copies * FLOAT_BYTES * workload.trained_parameters
    return _state_bytes(workload, "host") if offload == "parameters" else 0.0


def _cached_bytes(workload: WorkloadShape) -> float:
    """Bytes in host memory of the outputs of frozen layers for all training examples."""
    if not workload.model.caches_activations:
        return 0.0
    profile = workload.profile
    return float(profile.train_samples * profile.median * profile.hidden * FLOAT_BYTES)


def _sharded_bytes(
    workload: WorkloadShape, kind: MemoryKind, total: float, weights: float
) -> float:
    """A shard of all states, and the weights that are gathered: those of two layers, or all."""
    is_offloaded = workload.strategy.get("offload", "none") == "parameters"
    reshards = is_offloaded or bool(workload.strategy["fsdp_reshard"])
    gathered = min(weights, 2 * weights / workload.model.layers) if reshards else weights
    if is_offloaded:
        return gathered if kind == "device" else total / workload.layout.data
    return total / workload.layout.data + gathered


def _largest_tensor(workload: WorkloadShape, kind: MemoryKind) -> float:
    """Bytes of the largest trained tensor: the token embeddings, if they are trained, else a matrix
    of a layer; with adapters at most all that is trained."""
    profile = workload.profile
    is_elsewhere = kind == "device" and _has_embeddings_on_cpu(workload)
    if workload.model.frozen == 0 and not is_elsewhere:
        return workload.weight_bytes * profile.embedding_parameters
    matrix = float(profile.hidden * profile.intermediate_size)
    return workload.weight_bytes * min(matrix, workload.trained_parameters)
