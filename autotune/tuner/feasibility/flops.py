"""Floating-point operations of a strategy per sample: the prior for its speed."""

from __future__ import annotations

from autotune.domain import Strategy, WorkloadProfile
from autotune.levers.numerics import CUDA_GRAPHS
from autotune.tuner.feasibility.shapes import WorkloadShape

ROUNDING = 1.1
"""Operations of training that rounds weights and inputs, relative to training without."""

LAUNCH_OPERATIONS = 2e10
"""Multiply-adds of a GPU in the time in which the kernels of one layer are started: about 0.9 ms at
2e13 a second in fp32, set by hand after measurements on one H200."""

GRAPH_LAUNCH = 0.1
"""The part of that time that a recorded CUDA graph takes."""


def training_flops(profile: WorkloadProfile, strategy: Strategy) -> float:
    """Operations to train on one sample, in multiply-adds: the forward pass, and the backward pass
    to inputs and to trained weights."""
    workload = WorkloadShape(profile, strategy)
    model = workload.model
    trained = model.trained_layers / max(model.layers, 1)
    backward = trained * (1 + min(model.trained_share, 1.0))  # to inputs and to weights
    forward = trained if model.caches_activations else 1.0
    passes = forward + backward + (trained if model.recomputes_activations else 0.0)
    rounding = ROUNDING if model.rounds_weights else 1.0
    operations = rounding * passes * _forward(workload, workload.typical_batch)
    return operations + passes * _launch(workload)


def setup_samples(profile: WorkloadProfile, strategy: Strategy) -> float:
    """The number of training samples with as many operations as model set-up has: pruning scores,
    and the outputs of frozen layers that are cached."""
    workload = WorkloadShape(profile, strategy)
    model, operations = workload.model, 0.0
    if model.setup_passes:
        unpruned = WorkloadShape(profile, strategy.with_values(pruning_ratio=0.0))
        operations += model.setup_passes * _forward(unpruned, workload.typical_batch)
    if model.caches_activations:
        frozen = 1 - model.trained_layers / max(model.layers, 1)
        operations += profile.train_samples * frozen * _forward(workload, workload.typical_batch)
    return operations / training_flops(profile, strategy) if operations else 0.0


def inference_flops(profile: WorkloadProfile, strategy: Strategy) -> float:
    """Operations to predict the labels of one sample of median length."""
    return _forward(WorkloadShape(profile, strategy), profile.median)


def _launch(workload: WorkloadShape) -> float:
    """The operations of a GPU in the time in which the CPU starts the kernels of a forward pass,
    per sample: small batches wait for the CPU, whatever their operations are."""
    if workload.device != "cuda":
        return 0.0
    kernels = LAUNCH_OPERATIONS * workload.model.layers
    recorded = GRAPH_LAUNCH if workload.strategy["compile"] == CUDA_GRAPHS else 1.0
    return recorded * kernels / workload.rows


def _forward(workload: WorkloadShape, length: float) -> float:
    """One forward pass over ``length`` tokens: matrix products, and attention scores."""
    model = workload.model
    scores = 2 * model.layers * workload.profile.hidden * model.heads * length
    products = workload.layer_parameters * workload.profile.passes_per_layer
    return model.operations * (length * (products + scores))
