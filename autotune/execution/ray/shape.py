"""What a strategy holds, as Ray counts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune import PlacementGroupFactory

from autotune.domain import Job

NODE_CLASS_LABEL = "node-class"
"""Nodes say their class by this label: ``ray start --labels node-class=cpu-small``."""

ANY_CLASS = "any"


def bundle(job: Job) -> dict[str, float]:
    """Cores and GPUs of one job, which are held on one node."""
    gpus = sum(device.startswith("cuda") for device in job.resources.devices)
    return {"CPU": float(job.resources.cores), **({"GPU": float(gpus)} if gpus else {})}


def node_class(job: Job) -> str | None:
    """The class of node that the strategy asks for, ``None`` for any."""
    asked = str(job.strategy.get("node_class", ANY_CLASS))
    return None if asked == ANY_CLASS else asked


def placement(job: Job) -> PlacementGroupFactory:
    """The placement group of a job: all that it holds, on one node of the class that it asks."""
    asked = node_class(job)
    where = {} if asked is None else {"bundle_label_selector": [{NODE_CLASS_LABEL: asked}]}
    return PlacementGroupFactory([bundle(job)], strategy="STRICT_PACK", **where)


def fits(job: Job, node: Mapping[str, Any]) -> bool:
    """Whether a node, as ``ray.nodes()`` describes it, could hold the job if nothing else ran."""
    asked = node_class(job)
    if asked is not None and node["Labels"].get(NODE_CLASS_LABEL) != asked:
        return False
    return all(node["Resources"].get(name, 0.0) >= n for name, n in bundle(job).items())
