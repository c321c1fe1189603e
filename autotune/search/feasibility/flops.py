"""How many floating-point operations a strategy spends on one example: what speed goes by, before
anything else is known of it."""

from __future__ import annotations

from autotune.domain import Strategy, WorkloadProfile
from autotune.search.feasibility.workload_shape import WorkloadShape


def training_work(anatomy: WorkloadProfile, strategy: Strategy) -> float:
    """Operations to train on one example, in units of one matrix pass over a word piece: forward,
    and backward to inputs and to weights that are trained."""
    sizes = WorkloadShape(anatomy, strategy)
    trained = sizes.trained_layers / max(sizes.kept.layers, 1)
    passes = 1 + 2 * trained + (trained if strategy["activation_checkpointing"] else 0.0)
    return passes * _pass(sizes, sizes.usual_length)


def inference_work(anatomy: WorkloadProfile, strategy: Strategy) -> float:
    """The same to label one example of the usual length."""
    return _pass(WorkloadShape(anatomy, strategy), anatomy.median)


def _pass(sizes: WorkloadShape, length: float) -> float:
    """One pass over an example of so many word pieces: matrices, and scores of pairs."""
    pairs = 2 * sizes.kept.layers * sizes.anatomy.hidden * sizes.kept.heads * length
    return length * (sizes.linear + pairs)
