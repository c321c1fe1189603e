"""Resources that a strategy occupies (processes, threads, devices), and their price per hour."""

from __future__ import annotations

from autotune.domain import Host, Prices, Resources, Strategy
from autotune.domain.runtimes import RUNTIMES
from autotune.levers.cluster import ANY
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


def serving_threads(strategy: Strategy, host: Host) -> int:
    """The threads of the deployed model of ``strategy`` on ``host``."""
    return int(strategy["inference_threads"]) or host.physical_cores or len(host.cores)


def serving_usd(strategy: Strategy, host: Host, prices: Prices) -> float | None:
    """Dollars per hour of the cores, and of the GPU, that serve the deployed model; ``None`` if a
    price is unknown."""
    if prices.cpu_core is None:
        return None
    total = prices.cpu_core * serving_threads(strategy, host)
    if not RUNTIMES[str(strategy.get("runtime", "torch"))].is_on_gpu:
        return total
    gpu = _gpu_usd(str(strategy["device"]), host, prices)
    return None if gpu is None else total + gpu


def hourly_usd(strategy: Strategy, host: Host, prices: Prices) -> float | None:
    """Dollars per hour of all resources of ``strategy``; ``None`` if a price is unknown."""
    usage = required_resources(strategy)
    by_node = _node_usd(strategy, usage, host, prices)
    if by_node is not None:
        return by_node
    if prices.cpu_core is None:
        return None
    total = prices.cpu_core * usage.cores
    for device in usage.devices:
        gpu = _gpu_usd(device, host, prices)
        if gpu is None:
            return None
        total += gpu
    return total


def _gpu_usd(device_id: str, host: Host, prices: Prices) -> float | None:
    """The price of the longest key in the price table that is part of the name of the GPU."""
    device = host.device(device_id)
    name = (device.name or "") if device is not None else ""
    matches = [key for key in prices.gpus if key.lower() in name.lower()]
    return prices.gpus[max(matches, key=len)] if matches else None


def _node_usd(strategy: Strategy, usage: Resources, host: Host, prices: Prices) -> float | None:
    """The price of a share of ``nodes`` nodes, which are priced as units; the share is the larger
    one of cores and of GPUs. ``None`` if the node class or its price is unknown."""
    name = str(strategy.get("node_class", ANY))
    price = prices.nodes.get(name)
    node = next((node for node in host.node_classes if node.name == name), None)
    if price is None or node is None:
        return None
    gpus = sum(device.startswith("cuda") for device in usage.devices)
    share = max(usage.cores / node.cores, gpus / node.gpus if node.gpus else 0.0)
    return price * min(share, float(strategy.get("nodes", 1)))
