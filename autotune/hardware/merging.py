"""Several machines as a search sees them: what a trial can hold somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autotune.domain import Host, NodeClass


def roomiest(nodes: Sequence[tuple[str | None, Host]]) -> Host:
    """The machine with most accelerators, then cores, then memory, with the devices of all and the
    classes of node there are; ``nodes`` are (class, hardware)."""
    hosts = [host for _, host in nodes]
    best = max(hosts, key=lambda host: (len(host.devices), len(host.cores), host.memory_gib))
    devices = {device.id: device for host in [*hosts, best] for device in host.devices}
    order = sorted(devices.values(), key=lambda device: (device.kind == "cpu", device.id))
    classes = {name: _class(name, host) for name, host in reversed(nodes) if name is not None}
    named = tuple(classes[name] for name in sorted(classes))
    return replace(best, devices=tuple(order), node_classes=named, machines=len(nodes))


def _class(name: str, host: Host) -> NodeClass:
    gpus = sum(device.kind == "cuda" for device in host.devices)
    return NodeClass(name, len(host.cores), gpus)
