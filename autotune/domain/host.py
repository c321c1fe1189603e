"""A host, its devices, and the resources of it that a strategy occupies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autotune.domain.strategy import digest


@dataclass(frozen=True)
class Device:
    """A device for tensors. ``id`` is torch's name for it: ``cpu``, ``cuda:0``, ``mps``.

    ``free_gib`` is what other processes leave of its memory when the host is read.
    """

    id: str
    kind: Literal["cpu", "cuda", "mps"]
    name: str | None = None
    memory_gib: float | None = None
    capability: tuple[int, int] | None = None
    bf16: bool | None = None
    free_gib: float | None = None

    @property
    def usable_gib(self) -> float | None:
        """The memory that a trial can have: what is free, if that is known."""
        return self.memory_gib if self.free_gib is None else self.free_gib


@dataclass(frozen=True)
class NodeClass:
    """A class of cluster nodes, and what one node of it has."""

    name: str
    cores: int
    gpus: int = 0


@dataclass(frozen=True)
class Host:
    """A machine. ``cores`` are the ids of the logical CPUs that this process can use, and
    ``physical_cores`` is how many physical cores these are.

    For a cluster, this is the largest of its ``num_nodes`` nodes, with the devices of all.
    """

    cpu: str | None
    cores: tuple[int, ...]
    physical_cores: int | None
    memory_gib: float
    numa_nodes: tuple[tuple[int, ...], ...] = ()
    devices: tuple[Device, ...] = ()
    system: str = ""
    libc: str | None = None
    cpu_flags: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    node_classes: tuple[NodeClass, ...] = ()
    num_nodes: int = 1

    @property
    def fingerprint(self) -> str:
        """A digest that is equal for machines on which a strategy takes the same time."""
        devices = [(d.kind, d.name, d.memory_gib) for d in self.devices]
        return digest([self.cpu, len(self.cores), round(self.memory_gib), devices, self.system])

    def device(self, device_id: str) -> Device | None:
        return next((d for d in self.devices if d.id == device_id), None)


@dataclass(frozen=True)
class Resources:
    """The resources that a trial of a strategy occupies. They are known before it runs.

    ``serving_threads`` are those of the deployed model, which runs after the training.
    """

    processes: int = 1
    threads: int = 1
    devices: tuple[str, ...] = ()
    serving_threads: int = 0

    @property
    def cores(self) -> int:
        return max(self.processes * self.threads, self.serving_threads)


MIB = 2**20
GIB = 2**30
