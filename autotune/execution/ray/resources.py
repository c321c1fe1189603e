"""The resources of a job in Ray's terms, and the placement group that reserves them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import ray
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from autotune.domain import Job

NODE_CLASS_LABEL = "node-class"
"""The label with a node's class: ``ray start --labels node-class=cpu-small``."""

ANY_CLASS = "any"

MAX_RELEASE_SECONDS, RELEASE_POLL_SECONDS = 1.0, 0.01
"""How long to wait at most for the resources of removed groups, and how often to check."""


def num_nodes(job: Job) -> int:
    """The number of nodes over which the ranks of a job are distributed evenly."""
    return int(job.strategy.get("nodes", 1))


def gpus_per_node(job: Job) -> int:
    """The number of GPUs of a job on each of its nodes."""
    return sum(device.startswith("cuda") for device in job.resources.devices) // num_nodes(job)


def bundle(job: Job) -> dict[str, float]:
    """The cores and GPUs of a job on each of its nodes."""
    cores, gpus = job.resources.cores // num_nodes(job), gpus_per_node(job)
    return {"CPU": float(cores), **({"GPU": float(gpus)} if gpus else {})}


def node_class(job: Job) -> str | None:
    """The node class that the strategy requires; ``None`` for any."""
    name = str(job.strategy.get("node_class", ANY_CLASS))
    return None if name == ANY_CLASS else name


def reserve(job: Job, session: str) -> PlacementGroup:
    """A placement group with the resources of a job: on one node, or on as many different nodes as
    the strategy requires, of the required class.

    Ray keeps a group as long as the driver lives. If an actor was killed while it ran this job, its
    group still holds the resources that the job now waits for, so it is removed first.
    """
    count, required_class = num_nodes(job), node_class(job)
    name = f"autotune-{session}-{job.study}-{job.trial}-"
    for group in placement_group_table().values():
        if group["name"].startswith(name) and group["state"] != "REMOVED":
            remove_placement_group(get_placement_group(group["name"]))
    _wait_until_released({name: amount * count for name, amount in bundle(job).items()})
    labels = None if required_class is None else [{NODE_CLASS_LABEL: required_class}] * count
    return placement_group(
        [bundle(job)] * count,
        name=f"{name}{uuid4().hex[:8]}",
        strategy="STRICT_PACK" if count == 1 else "STRICT_SPREAD",
        bundle_label_selector=labels,
    )


def _wait_until_released(required: Mapping[str, float]) -> None:
    """If less than ``required`` is free, wait for the resources of removed groups.

    Nodes report released resources after a tenth of a second. Ray tries a group that is requested
    before that again only after a second.
    """
    deadline = time.monotonic() + MAX_RELEASE_SECONDS
    while time.monotonic() < deadline and any(
        _is_being_released(name, amount) for name, amount in required.items()
    ):
        time.sleep(RELEASE_POLL_SECONDS)


def _is_being_released(name: str, amount: float) -> bool:
    """Whether less than ``amount`` is free although the existing groups leave more."""
    free = ray.available_resources().get(name, 0.0)
    if free >= amount:
        return False
    groups = [g for g in placement_group_table().values() if g["state"] != "REMOVED"]
    reserved = sum(part.get(name, 0.0) for group in groups for part in group["bundles"].values())
    return bool(ray.cluster_resources().get(name, 0.0) - free > reserved)


def fits(job: Job, nodes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether ``nodes``, as returned by ``ray.nodes()``, could hold the job if nothing else ran."""
    return sum(_could_hold(job, node) for node in nodes) >= num_nodes(job)


def _could_hold(job: Job, node: Mapping[str, Any]) -> bool:
    required_class = node_class(job)
    if required_class is not None and node["Labels"].get(NODE_CLASS_LABEL) != required_class:
        return False
    return all(node["Resources"].get(name, 0.0) >= n for name, n in bundle(job).items())
