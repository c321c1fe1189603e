"""What a strategy holds, as Ray counts it."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
"""Nodes say their class by this label: ``ray start --labels node-class=cpu-small``."""

ANY_CLASS = "any"

LEAVING_SECONDS, GLANCE_SECONDS = 1.0, 0.01
"""How long to wait at most for what removed groups held, and how often to look."""


def nodes(job: Job) -> int:
    """The machines over which the ranks of a job are spread evenly."""
    return int(job.strategy.get("nodes", 1))


def gpus(job: Job) -> int:
    """GPUs that a job holds on each of its nodes."""
    return sum(device.startswith("cuda") for device in job.resources.devices) // nodes(job)


def bundle(job: Job) -> dict[str, float]:
    """Cores and GPUs that a job holds on each of its nodes."""
    cores = {"CPU": float(job.resources.cores // nodes(job))}
    return {**cores, "GPU": float(gpus(job))} if gpus(job) else cores


def node_class(job: Job) -> str | None:
    """The class of node that the strategy asks for, ``None`` for any."""
    asked = str(job.strategy.get("node_class", ANY_CLASS))
    return None if asked == ANY_CLASS else asked


def reserve(job: Job, session: str) -> PlacementGroup:
    """A placement group of all that a job holds: on one node, or on as many different ones as it
    asks, of the class that it asks.

    Ray keeps a group for as long as the driver lives. So one that an actor left behind, which was
    killed while it ran the job, is removed first: what it holds is what the job waits for.
    """
    count, asked = nodes(job), node_class(job)
    name = f"autotune-{session}-{job.study}-{job.trial}-"
    for left in placement_group_table().values():
        if left["name"].startswith(name) and left["state"] != "REMOVED":
            remove_placement_group(get_placement_group(left["name"]))
    _wait_until_released({name: amount * count for name, amount in bundle(job).items()})
    return placement_group(
        [bundle(job)] * count,
        name=f"{name}{uuid4().hex[:8]}",
        strategy="STRICT_PACK" if count == 1 else "STRICT_SPREAD",
        bundle_label_selector=[{NODE_CLASS_LABEL: asked}] * count if asked is not None else None,
    )


def _wait_until_released(wanted: Mapping[str, float]) -> None:
    """Where less than ``wanted`` is free, wait for what removed groups still hold. Nodes tell of
    that after a tenth of a second; a group that is asked for before is tried again after a whole
    one."""
    until = time.monotonic() + LEAVING_SECONDS
    while time.monotonic() < until and any(_is_leaving(*want) for want in wanted.items()):
        time.sleep(GLANCE_SECONDS)


def _is_leaving(name: str, amount: float) -> bool:
    """Whether there is too little of a resource, and less than what the groups that are there leave
    of it."""
    free = ray.available_resources().get(name, 0.0)
    if free >= amount:
        return False
    groups = [g for g in placement_group_table().values() if g["state"] != "REMOVED"]
    held = sum(part.get(name, 0.0) for group in groups for part in group["bundles"].values())
    return bool(ray.cluster_resources().get(name, 0.0) - free > held)


def fits(job: Job, found: list[dict[str, Any]]) -> bool:
    """Whether nodes, as ``ray.nodes()`` describes them, could hold the job if nothing else ran."""
    return sum(_could_hold(job, node) for node in found) >= nodes(job)


def _could_hold(job: Job, node: Mapping[str, Any]) -> bool:
    asked = node_class(job)
    if asked is not None and node["Labels"].get(NODE_CLASS_LABEL) != asked:
        return False
    return all(node["Resources"].get(name, 0.0) >= n for name, n in bundle(job).items())
