"""Values that trainers' configurations need and that follow from a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from autotune.domain import Strategy
from autotune.levers.layout import Layout, layout

CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")
"""The field of ``TrainingArguments`` that recomputes activations, and its earlier name."""


def get_layout(strategy: Strategy) -> Layout:
    """The process layout of the strategy."""
    return layout(strategy.get("parallelism", "none"))


def parallel_degrees(strategy: Strategy) -> Mapping[str, int]:
    """Degrees by kind: ``{}`` for one process, ``{"ddp": 2, "tp": 2}`` for ``ddp:2 x tp:2``."""
    group = get_layout(strategy)
    pairs = ((group.data_kind, group.data), (group.model_kind, group.model))
    return {kind: degree for kind, degree in pairs if kind is not None}


def num_processes(strategy: Strategy) -> int:
    """The number of processes of the strategy."""
    return get_layout(strategy).world


def num_replicas(strategy: Strategy) -> int:
    """The number of processes that share a batch."""
    return get_layout(strategy).data


def micro_batch_size(strategy: Strategy) -> int:
    """Examples per forward and backward pass of one process."""
    process_batch_size = max(1, int(strategy["batch_size"]) // num_replicas(strategy))
    size = strategy["micro_batch_size"]
    return process_batch_size if size == "full" else min(process_batch_size, int(size))


def accumulation_steps(strategy: Strategy) -> int:
    """Micro-batches per optimizer step of one process."""
    return int(strategy["batch_size"]) // (micro_batch_size(strategy) * num_replicas(strategy))


def unsupported_parallelism(name: str, *supported: str) -> dict[str, str]:
    """The reason why a format supports only some kinds of parallelism."""
    kinds = ", ".join(("none", *supported))
    return {"parallelism": f"{name} supports {kinds}; torchrun supports every kind"}


def uneven_batch(strategy: Strategy) -> Mapping[str, str]:
    """The reason why a batch is unsupported that does not consist of equal micro-batches on every
    process. Trainers that require that would train a smaller batch."""
    replicas = num_replicas(strategy)
    trained = micro_batch_size(strategy) * accumulation_steps(strategy) * replicas
    if trained == int(strategy["batch_size"]):
        return {}
    size = strategy["micro_batch_size"]
    unit = replicas if size == "full" else replicas * int(size)
    parts = "micro-batches" if size == "full" else f"micro-batches of {size}"
    over = f" on {replicas} processes" if replicas > 1 else ""
    reason = f"does not divide into equal {parts}{over}; a multiple of {unit} does"
    return {"batch_size": reason}


def checkpointing_field() -> str:
    """The name of :data:`CHECKPOINTING` that the installed transformers has."""
    from transformers import TrainingArguments

    names = {field.name for field in fields(TrainingArguments)}
    return next(name for name in CHECKPOINTING if name in names)
