"""The registry of levers: all that a study may search, in the order conditions may refer to."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.domain import ForbiddenClause, Host, Prices, Resources, Strategy, Value, digest
from autotune.levers import (
    batching,
    cluster,
    compression,
    numerics,
    optimisation,
    parallelism,
    placement,
)
from autotune.levers.base import ACCURACY, MEMORY, SPEED, Influence, Lever, Pattern

__all__ = [
    "LEVERS",
    "RULES",
    "Influence",
    "Lever",
    "Pattern",
    "defaults",
    "hourly_usd",
    "profile_key",
    "resources",
    "rules",
    "training_key",
]

_ALL = (
    cluster.NODE_CLASS,
    placement.DEVICE,
    placement.THREADS,
    placement.ALLOCATOR,
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
    optimisation.LEARNING_RATE,
    optimisation.LEARNING_RATE_SCALING,
    optimisation.EPOCHS,
    optimisation.OPTIMIZER,
)

LEVERS: Mapping[str, Lever] = {lever.name: lever for lever in _ALL}

RULES: tuple[ForbiddenClause, ...] = (
    ForbiddenClause("micro_batch_size >= batch_size",
         "a micro-batch as large as the batch is no accumulation; write micro_batch_size: full"),
    ForbiddenClause("batch_size % micro_batch_size > 0",
         "the batch must be a whole number of micro-batches"),
    ForbiddenClause("precision in [tf32, fp16] and device in [cpu, mps]",
         "tf32 and fp16 with gradient scaling are for CUDA GPUs"),
    ForbiddenClause("compile == true and device == mps",
         "torch.compile does not support training on mps"),
    ForbiddenClause("compile == true and activation_checkpointing == true and device == cpu",
         "on a CPU compiling recomputes nothing, so checkpointing only adds work"),
    *parallelism.RULES,
    *cluster.RULES,
    *placement.RULES,
    *batching.RULES,
)  # fmt: skip
"""Combinations that cannot work or say the same twice, whatever the study."""


def defaults(host: Host, epochs: float = 1.0) -> dict[str, Value]:
    """What Hugging Face's Trainer does when nothing is set, on this host, but for its 3 epochs."""
    return {**{lever.name: lever.default_on(host) for lever in _ALL}, "epochs": epochs}


def rules(host: Host) -> tuple[ForbiddenClause, ...]:
    """:data:`RULES`, and what this host cannot hold."""
    of_host = (
        parallelism.host_rules,
        placement.host_rules,
        numerics.host_rules,
        cluster.host_rules,
    )
    return (*RULES, *(rule for rules_of in of_host for rule in rules_of(host)))


def profile_key(strategy: Strategy) -> str:
    """The same for strategies that run at the same speed in the same memory."""
    return _key(strategy, SPEED, MEMORY)


def training_key(strategy: Strategy) -> str:
    """The same for strategies that train the same model: same examples, same arithmetic, same
    updates, wherever and however fast they are computed."""
    return _key(strategy, ACCURACY)


def _key(strategy: Strategy, *which: Influence) -> str:
    matter = {n: v for n, v in strategy.values.items() if LEVERS[n].influences & {*which}}
    return digest(matter)


def resources(strategy: Strategy) -> Resources:
    """What the strategy holds while it runs. Training on GPUs still holds the threads' cores; the
    ranks of a trial on GPUs take one each, from the strategy's device on."""
    device = str(strategy["device"])
    threads = int(strategy["threads"])
    world = parallelism.layout(strategy.get("parallelism", "none")).world
    if device == "cpu":
        return Resources(world, threads)
    where = str(strategy.get("placement", "single"))
    split = int(strategy.get("split_gpus", 1)) if where.startswith("split") else 1
    count = split if world == 1 or where == "mixed" else world
    if count == 1:
        return Resources(world, threads, (device,))
    kind, _, first = device.partition(":")
    return Resources(world, threads, tuple(f"{kind}:{int(first) + n}" for n in range(count)))


def hourly_usd(strategy: Strategy, host: Host, prices: Prices) -> float | None:
    """Dollars per hour of all that the strategy holds; ``None`` where a price is unknown.

    The longest name in the price book that is part of the GPU's name counts.
    """
    held = resources(strategy)
    name, nodes = strategy.get("node_class", cluster.ANY), strategy.get("nodes", 1)
    by_node = cluster.hourly_usd(name, nodes, held, host, prices)
    if by_node is not None:
        return by_node
    if prices.cpu_core is None:
        return None
    total = prices.cpu_core * held.cores
    for device_id in held.devices:
        device = host.device(device_id)
        name = (device.name or "") if device is not None else ""
        known = [key for key in prices.gpus if key.lower() in name.lower()]
        if not known:
            return None
        total += prices.gpus[max(known, key=len)]
    return total
