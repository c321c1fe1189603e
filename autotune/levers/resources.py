"""Resources that a strategy occupies while it runs: processes, threads and devices."""

from __future__ import annotations

from autotune.domain import Resources, Strategy
from autotune.levers.layout import layout


def required_resources(strategy: Strategy) -> Resources:
    """The resources of a trial.

    Training on GPUs also occupies the cores of its threads. Each rank takes one GPU, counted from
    the strategy's device; a split model takes ``split_gpus``.
    """
    device = str(strategy["device"])
    threads = int(strategy["threads"])
    world = layout(strategy.get("parallelism", "none")).world
    if device == "cpu":
        return Resources(world, threads)
    placement = str(strategy.get("placement", "single"))
    split = int(strategy.get("split_gpus", 1)) if placement.startswith("split") else 1
    count = split if world == 1 or placement == "mixed" else world
    if count == 1:
        return Resources(world, threads, (device,))
    kind, _, first = device.partition(":")
    return Resources(world, threads, tuple(f"{kind}:{int(first) + n}" for n in range(count)))
