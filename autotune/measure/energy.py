"""Energy from the counters that the hardware keeps: RAPL for CPU packages, NVML for NVIDIA GPUs.

A counter covers all that its package or GPU does, other processes too. Without a counter there is
no number.
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
    """``read`` gives joules since some moment; it starts over at ``wraps_at`` where that is set."""

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None

    def since(self, before: float) -> float:
        """Joules used since ``before`` was read."""
        used = self.read() - before
        return used + self.wraps_at if used < 0 and self.wraps_at is not None else used


def counters(
    devices: Sequence[torch.device], powercap: Path = POWERCAP, *, packages: bool = True
) -> list[EnergyCounter]:
    """Counters that can be read here: of the GPUs among ``devices``, and with ``packages`` of the
    host's CPU packages, which one process of a machine counts for all."""
    of_gpus = [counter for device in devices for counter in _nvml(device)]
    return [*(_rapl(powercap) if packages else ()), *of_gpus]


def _rapl(powercap: Path) -> Iterator[EnergyCounter]:
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if not name.startswith("package"):  # cores and DRAM are parts of their package
                continue
            wraps_at = int((zone / "max_energy_range_uj").read_text()) / 1e6
            _microjoules(zone)
        except (OSError, ValueError):  # many kernels let only root read
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
    except nvml.NVMLError:  # before Volta there is no such counter
        return
    yield EnergyCounter(
        uuid, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
    )  # from mJ


class EnergyMeter:
    """Adds up the energy of the stretches that count. :attr:`wh` is ``None`` without a counter."""

    def __init__(self, sources: list[EnergyCounter]) -> None:
        self._sources = sources
        self._joules = 0.0

    @property
    def wh(self) -> float | None:
        return self._joules / JOULES_PER_WH if self._sources else None

    @contextmanager
    def running(self) -> Iterator[None]:
        before = [source.read() for source in self._sources]
        try:
            yield
        finally:
            pairs = zip(self._sources, before, strict=True)
            self._joules += sum(source.since(start) for source, start in pairs)
