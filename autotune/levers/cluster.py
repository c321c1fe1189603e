"""Levers ``node_class`` and ``nodes`` of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.levers.base import DEPLOYMENT, MEMORY, SPEED, Lever, Pattern

ANY = "any"
MAX_NODES = 64


def _default_class(host: Host) -> Value:
    """The first class of the cluster: all default trials run on the same one and are comparable."""
    return host.node_classes[0].name if host.node_classes else ANY


def _class_missing(host: Host, value: Value) -> str | None:
    names = [node.name for node in host.node_classes]
    if value == ANY or value in names:
        return None
    return f"no node of class {value} in the cluster (found: {', '.join(names) or 'none'})"


def _classes(host: Host) -> Categorical:
    return Categorical(tuple(node.name for node in host.node_classes) or (ANY,))


def _node_class_forbidden_on(host: Host) -> Iterator[ForbiddenClause]:
    """Settings that need more than a node of the class has."""
    for node in host.node_classes:
        is_class = f"node_class == '{node.name}'"
        yield ForbiddenClause(
            f"{is_class} and threads > {node.cores}",
            f"a node of class {node.name} has {node.cores} cores",
        )
        if node.gpus == 0:
            yield ForbiddenClause(
                f"{is_class} and device != cpu", f"a node of class {node.name} has no GPU"
            )


NODE_CLASS = Lever(
    name="node_class",
    summary="Class of the cluster node that runs the trial, from the node's label",
    domain=Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]*", "any, cpu-small, gpu-a10"),
    default=_default_class,
    neutral=ANY,
    influences=frozenset({SPEED, MEMORY, DEPLOYMENT}),
    unavailable=_class_missing,
    auto=_classes,
    forbidden_on=_node_class_forbidden_on,
    effect="autotune.execution.ray.resources:node_class",
    exports={"ray-train": "label_selector"},
)


def _too_few_nodes(host: Host, value: Value) -> str | None:
    if float(value) <= host.num_nodes:
        return None
    return f"needs {value} nodes; there {_is_or_are(host.num_nodes)}"


def _is_or_are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def _powers_of_two(host: Host) -> Categorical:
    return Categorical(tuple(2**power for power in range(host.num_nodes.bit_length())))


NODES = Lever(
    name="nodes",
    summary="Number of cluster nodes over which the processes of a trial are spread evenly",
    domain=Range(1, MAX_NODES, integer=True),
    default=1,
    influences=frozenset({SPEED, MEMORY}),
    when="parallelism != none",
    unavailable=_too_few_nodes,
    auto=_powers_of_two,
    effect="autotune.execution.ray.resources:num_nodes",
    forbidden=(
        ForbiddenClause("nodes > 1 and placement == mixed",
            "the CPU and the GPU of a mixed trial are on one node"),
    ),
)  # fmt: skip
