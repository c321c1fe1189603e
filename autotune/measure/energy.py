"""Energy from hardware counters: RAPL for CPU packages, NVML for NVIDIA GPUs.

A counter covers all work of its package or GPU, including other processes. Without a counter there
is no measurement.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
JOULES_PER_WH = 3600.0


@dataclass(frozen=True)
class EnergyCounter:
    """``read`` returns joules since an arbitrary time. It restarts from 0 at ``wraps_at``, if
    set.
    """

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None

    def since(self, before: float) -> float:
        """Joules since ``before`` was read."""
        used = self.read() - before
        return used + self.wraps_at if used < 0 and self.wraps_at is not None else used


def counters(
    devices: Sequence[torch.device], powercap: Path = POWERCAP, *, packages: bool = True
) -> list[EnergyCounter]:
    """The readable counters of the GPUs among ``devices`` and, with ``packages``, of the host's CPU
    packages. One process of each machine counts the packages for all its processes."""
    gpus = [counter for device in devices for counter in _nvml(device)]
    return [*(_rapl(powercap) if packages else ()), *gpus]


def _rapl(powercap: Path) -> Iterator[EnergyCounter]:
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if not name.startswith("package"):  # cores and DRAM are parts of their package
                continue
            wraps_at = int((zone / "max_energy_range_uj").read_text()) / 1e6
            _microjoules(zone)
        except (OSError, ValueError):  # on many systems only root can read it
            continue
        yield EnergyCounter(name, lambda zone=zone: _microjoules(zone) / 1e6, wraps_at)  # type: ignore[misc]


def _microjoules(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())


def _nvml(device: torch.device) -> Iterator[EnergyCounter]:
    if device.type != "cuda":
        return
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return
    try:
        nvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:  # GPUs before Volta have no such counter
        return
    yield EnergyCounter(
        uuid, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
    )  # from mJ


class EnergyMeter:
    """Sums the energy of the :meth:`running` contexts in :attr:`joules`. :attr:`wh` is ``None``
    without a counter."""

    def __init__(self, counters: list[EnergyCounter]) -> None:
        self._counters = counters
        self.joules = 0.0

    @property
    def wh(self) -> float | None:
        return self.joules / JOULES_PER_WH if self._counters else None

    @contextmanager
    def running(self) -> Iterator[None]:
        before = [counter.read() for counter in self._counters]
        try:
            yield
        finally:
            pairs = zip(self._counters, before, strict=True)
            self.joules += sum(counter.since(start) for counter, start in pairs)
