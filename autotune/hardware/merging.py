"""Several machines as a search sees them: what a trial can hold somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autotune.domain import Host


def roomiest(hosts: Sequence[Host]) -> Host:
    """The machine with most accelerators, then cores, then memory, and with the devices of all."""
    best = max(hosts, key=lambda host: (len(host.devices), len(host.cores), host.memory_gib))
    devices = {device.id: device for host in [*hosts, best] for device in host.devices}
    order = sorted(devices.values(), key=lambda device: (device.kind == "cpu", device.id))
    return replace(best, devices=tuple(order))
