"""A machine, its devices, and what a strategy holds of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autotune.domain.strategy import digest


@dataclass(frozen=True)
class Device:
    """One place where tensors can live. ``id`` is torch's name: ``cpu``, ``cuda:0``, ``mps``."""

    id: str
    kind: Literal["cpu", "cuda", "mps"]
    name: str | None = None
    memory_gib: float | None = None
    capability: tuple[int, int] | None = None
    bf16: bool | None = None


@dataclass(frozen=True)
class NodeClass:
    """A kind of machine in a cluster: what one node of it has."""

    name: str
    cores: int
    gpus: int = 0


@dataclass(frozen=True)
class Host:
    """One machine as found. ``cores`` are the logical CPUs this process may use, by id.

    In a cluster this is the roomiest machine of ``machines``, and ``node_classes`` are the kinds.
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
        """The same for machines on which the same strategy should take the same time."""
        devices = [(d.kind, d.name, d.memory_gib) for d in self.devices]
        return digest([self.cpu, len(self.cores), round(self.memory_gib), devices, self.system])

    def device(self, device_id: str) -> Device | None:
        return next((d for d in self.devices if d.id == device_id), None)


@dataclass(frozen=True)
class Resources:
    """What a strategy holds while it runs: known before it runs, paid for by the hour."""

    processes: int = 1
    threads: int = 1
    devices: tuple[str, ...] = ()

    @property
    def cores(self) -> int:
        return self.processes * self.threads
