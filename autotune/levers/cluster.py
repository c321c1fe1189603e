"""The levers of which machines a trial runs on, and how many, where a cluster has several."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.domain import (
    Categorical,
    ForbiddenClause,
    Host,
    NodeClass,
    Prices,
    Range,
    Resources,
    Value,
)
from autotune.levers.base import MEMORY, SPEED, Lever, Pattern, influences

ANY = "any"
MAX_NODES = 64


def _default(host: Host) -> Value:
    """Always the same class, so that the default configuration is one thing to compare with."""
    return host.node_classes[0].name if host.node_classes else ANY


def _missing(host: Host, value: Value) -> str | None:
    names = [kind.name for kind in host.node_classes]
    if value == ANY or value in names:
        return None
    return f"no node of class {value} in the cluster (found: {', '.join(names) or 'none'})"


def _classes(host: Host) -> Categorical:
    return Categorical(tuple(kind.name for kind in host.node_classes) or (ANY,))


NODE_CLASS = Lever(
    name="node_class",
    summary="Class of the machine in a Ray cluster, as its nodes say by a label",
    domain=Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]*", "any, cpu-small, gpu-a10"),
    default=_default,
    influences=influences(SPEED, MEMORY),
    unavailable=_missing,
    auto=_classes,
)


def _too_few(host: Host, value: Value) -> str | None:
    if float(value) <= host.num_nodes:
        return None
    return f"{value} machines are asked for, and there {_are(host.num_nodes)}"


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def _doublings(host: Host) -> Categorical:
    return Categorical(tuple(2**power for power in range(host.num_nodes.bit_length())))


NODES = Lever(
    name="nodes",
    summary="Machines of a Ray cluster over which the processes of a trial are spread evenly",
    domain=Range(1, MAX_NODES, integer=True),
    default=1,
    influences=influences(SPEED, MEMORY),
    when="parallelism != none",
    unavailable=_too_few,
    auto=_doublings,
)

RULES = (
    ForbiddenClause(
        "nodes > 1 and placement == mixed", "a GPU and the CPU beside it are one machine's"
    ),
)


def host_rules(host: Host) -> Iterator[ForbiddenClause]:
    """What nodes of each class cannot hold, and why."""
    for kind in host.node_classes:
        here = f"node_class == '{kind.name}'"
        yield ForbiddenClause(
            f"{here} and threads > {kind.cores}", f"a node of class {kind.name} has fewer cores"
        )
        if kind.gpus == 0:
            yield ForbiddenClause(
                f"{here} and device != cpu", f"a node of class {kind.name} has no GPU"
            )


def hourly_usd(
    name: Value, nodes: Value, held: Resources, host: Host, prices: Prices
) -> float | None:
    """Dollars per hour for a part of ``nodes`` nodes, which are priced whole; the part is the
    larger one of cores and of GPUs. ``None`` where the class or its price is unknown."""
    price = prices.nodes.get(str(name))
    kind: NodeClass | None = next((k for k in host.node_classes if k.name == name), None)
    if price is None or kind is None:
        return None
    gpus = sum(device.startswith("cuda") for device in held.devices)
    share = max(held.cores / kind.cores, gpus / kind.gpus if kind.gpus else 0.0)
    return price * min(share, float(nodes))
