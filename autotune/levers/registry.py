"""The registry of levers: every tunable setting, in the order that conditions may refer to.

Built-in levers are listed here; :func:`register_lever` adds those of plug-ins. Strategies, schema,
help, docs, exports and predictions are derived from :data:`LEVERS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from autotune.domain import ForbiddenClause, Host, Strategy, Value, digest, expression
from autotune.errors import ExpressionError, UsageError
from autotune.levers import (
    batching,
    cluster,
    compression,
    devices,
    numerics,
    optimization,
    parallelism,
    placement,
)
from autotune.levers.base import ACCURACY, MEMORY, SPEED, Influence, Lever
from autotune.levers.effects import MODEL_LEVERS

BUILTIN_LEVERS = (
    cluster.NODE_CLASS,
    devices.DEVICE,
    devices.THREADS,
    devices.ALLOCATOR,
    parallelism.PARALLELISM,
    cluster.NODES,
    parallelism.DDP_BUCKET_MIB,
    parallelism.FSDP_RESHARD,
    parallelism.SEQUENCE_PARALLEL,
    parallelism.PIPELINE_SCHEDULE,
    parallelism.PIPELINE_MICROBATCHES,
    parallelism.PINNING,
    placement.PLACEMENT,
    placement.SPLIT_GPUS,
    placement.OFFLOAD,
    batching.BATCH_SIZE,
    batching.MICRO_BATCH_SIZE,
    batching.PADDING,
    batching.LOADER_WORKERS,
    batching.PREFETCH,
    batching.PINNED_MEMORY,
    numerics.PRECISION,
    numerics.ATTENTION,
    numerics.COMPILE,
    numerics.ACTIVATION_CHECKPOINTING,
    compression.PRUNING_RATIO,
    compression.PRUNING_METHOD,
    compression.PRUNING_SCORE,
    compression.FREEZE_LAYERS,
    compression.DROPOUT,
    optimization.LEARNING_RATE,
    optimization.LEARNING_RATE_SCALING,
    optimization.EPOCHS,
    optimization.OPTIMIZER,
)

_levers: dict[str, Lever] = {lever.name: lever for lever in BUILTIN_LEVERS}

LEVERS: Mapping[str, Lever] = MappingProxyType(_levers)
"""All levers by name: built-in levers first, then plug-in levers in order of registration. A live
view: read it when it is needed, do not copy it at import."""

FORBIDDEN_CLAUSES = tuple(clause for lever in BUILTIN_LEVERS for clause in lever.forbidden)
"""Combinations of built-in levers that cannot work, or that repeat another one, on any host."""


def register_lever(lever: Lever) -> None:
    """Add a plug-in lever after all others.

    Registering an equal record again changes nothing. Raises
    :class:`~autotune.errors.UsageError` if another lever has the name, or if the record
    contradicts itself.
    """
    existing = _levers.get(lever.name)
    if existing == lever:
        return
    if existing is not None:
        raise UsageError(
            f"lever {lever.name}: another lever already has this name",
            hint="give the lever of the plug-in another name",
        )
    _check(lever)
    _levers[lever.name] = lever
    if lever.stage is not None:
        MODEL_LEVERS[lever.name] = lever


def _check(lever: Lever) -> None:
    if not lever.name.isidentifier() or not lever.name.islower():
        raise UsageError(
            f"lever {lever.name!r}: not a valid name",
            hint="use lower-case letters, digits and underscores, such as my_lever",
        )
    if not callable(lever.default) and not lever.is_legal(lever.default):
        raise UsageError(
            f"lever {lever.name}: its default {lever.default!r} is not a legal setting",
            hint=f"legal settings: {lever.describe()}",
        )
    if lever.stage is not None and ":" not in (lever.effect or ""):
        raise UsageError(
            f"lever {lever.name}: has a stage, but effect is {lever.effect!r}",
            hint='write effect=f"{__name__}:FUNCTION"',
        )
    if not lever.influences:
        raise UsageError(
            f"lever {lever.name}: influences is empty",
            hint="list what the lever changes: SPEED, MEMORY, ACCURACY",
        )
    for text in (lever.when, *(clause.excludes for clause in lever.forbidden)):
        if text is not None:
            _check_expression(lever, text)


def _check_expression(lever: Lever, text: str) -> None:
    names = [*LEVERS] if text == lever.when else [*LEVERS, lever.name]
    try:
        expression.parse(text, names)
    except ExpressionError as error:
        raise UsageError(
            f"lever {lever.name}: in '{text}': {error.message}", hint=error.hint
        ) from error


def defaults(host: Host, epochs: float = 1.0) -> dict[str, Value]:
    """The defaults of Hugging Face's Trainer on ``host``, with ``epochs`` instead of its 3."""
    return {**{name: lever.default_on(host) for name, lever in LEVERS.items()}, "epochs": epochs}


def forbidden_clauses(host: Host) -> tuple[ForbiddenClause, ...]:
    """Combinations that no study may try on ``host``."""
    return tuple(_clauses(host))


def _clauses(host: Host) -> Iterator[ForbiddenClause]:
    for lever in LEVERS.values():
        yield from lever.forbidden
    for lever in LEVERS.values():
        yield from lever.forbidden_on(host)


def profile_key(strategy: Strategy) -> str:
    """Equal for strategies that run at the same speed in the same memory."""
    return _key(strategy, SPEED, MEMORY)


def training_key(strategy: Strategy) -> str:
    """Equal for strategies that train the same model: same samples, arithmetic and updates."""
    return _key(strategy, ACCURACY)


def _key(strategy: Strategy, *influences: Influence) -> str:
    values = strategy.values.items()
    return digest({name: value for name, value in values if _influences(name) & {*influences}})


def _influences(name: str) -> frozenset[Influence]:
    """A lever of a plug-in that is not loaded may influence everything."""
    lever = LEVERS.get(name)
    return frozenset(Influence) if lever is None else lever.influences
