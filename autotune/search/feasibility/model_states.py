"""Weights, gradients and the optimizer's states, as one process of a trial holds them."""

from __future__ import annotations

from typing import Literal

from autotune.search.feasibility.workload_shape import FLOAT, WorkloadShape

MemoryKind = Literal["host", "device"]

STATES_PER_PARAMETER = {"adamw": 2.0, "adamw-fused": 2.0, "sgd": 1.0, "adafactor": 0.02}
"""Numbers that an optimizer keeps for each parameter; Adafactor's are rows and columns."""

TEMPORARIES = {"adamw": 2.0, "adamw-fused": 0.0, "sgd": 0.0, "adafactor": 3.0}
"""Copies of the largest tensor that a step makes for a moment."""


def states(sizes: WorkloadShape, where: MemoryKind, *, training: bool = True) -> float:
    """Bytes on average over processes; without gradients where ``training`` is over."""
    strategy, layout = sizes.strategy, sizes.layout
    optimizer, offload = str(strategy["optimizer"]), str(strategy.get("offload", "none"))
    weights = sizes.weight_bytes * sizes.parameters
    gradients = sizes.weight_bytes * sizes.trained * training
    casts = 2.0 * sizes.linear if sizes.precision in ("bf16", "fp16") else 0.0
    masks = sizes.linear if sizes.masked else 0.0
    kept = STATES_PER_PARAMETER[optimizer] * sizes.weight_bytes * sizes.trained
    if where == "device" and offload == "optimizer":
        kept = 0.0
    if layout.data_kind == "zero1":
        kept /= layout.data
    total = (weights + gradients + kept + casts + masks) / layout.model
    if layout.data_kind == "fsdp" or offload == "parameters":
        total = _sharded(sizes, where, total, (weights + casts) / layout.model)
    return total + TEMPORARIES[optimizer] * _largest(sizes) / layout.model * training


def offloaded(sizes: WorkloadShape) -> float:
    """Bytes on the host of what a trial on an accelerator keeps there."""
    offload = sizes.strategy.get("offload", "none")
    if offload == "optimizer":
        copies = 2 + STATES_PER_PARAMETER[str(sizes.strategy["optimizer"])]
        return copies * FLOAT * sizes.trained
    return states(sizes, "host") if offload == "parameters" else 0.0


def _sharded(sizes: WorkloadShape, where: MemoryKind, total: float, weights: float) -> float:
    """A share of everything, and the weights that are gathered: two layers' worth, or all."""
    offloads = sizes.strategy.get("offload", "none") == "parameters"
    lets_go = offloads or bool(sizes.strategy["fsdp_reshard"])
    gathered = min(weights, 2 * weights / sizes.kept.layers) if lets_go else weights
    if offloads:
        return gathered if where == "device" else total / sizes.layout.data
    return total / sizes.layout.data + gathered


def _largest(sizes: WorkloadShape) -> float:
    """Bytes of the largest trained tensor: the table of word pieces, where that is trained."""
    if int(sizes.strategy["freeze_layers"]) == 0:
        return sizes.weight_bytes * sizes.anatomy.embedding_parameters
    return sizes.weight_bytes * sizes.anatomy.hidden * sizes.anatomy.intermediate_size
