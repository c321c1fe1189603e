"""The cores that this process may use. Needs only the standard library, because exported folders
contain a copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from autotune.hardware.container import cpu_quota

CPUS = Path("/sys/devices/system/cpu")


def usable_cores() -> tuple[int, ...]:
    """The ids of the logical CPUs that this process can use: at most the CPU quota of its
    container. One hardware thread of each physical core comes first, then the second ones."""
    if hasattr(os, "sched_getaffinity"):
        ids = sorted(os.sched_getaffinity(0))
    else:
        ids = list(range(os.cpu_count() or 1))
    ranks: dict[tuple[int, ...], int] = {}
    order = []
    for cpu in ids:
        core = _hardware_threads(cpu)
        order.append((ranks.get(core, 0), cpu))
        ranks[core] = ranks.get(core, 0) + 1
    quota = cpu_quota()
    usable = [cpu for _, cpu in sorted(order)]
    return tuple(usable if quota is None else usable[: max(1, int(quota))])


def physical_cores(cpus: Sequence[int]) -> int | None:
    """How many physical cores the logical ``cpus`` are; ``None`` where the system does not say."""
    if not (CPUS / "cpu0" / "topology").is_dir():
        return None
    return len({_hardware_threads(cpu) for cpu in cpus})


def _hardware_threads(cpu: int) -> tuple[int, ...]:
    """The logical CPUs on the physical core of ``cpu``."""
    try:
        path = CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        return parse_cpu_list(path.read_text())
    except (OSError, ValueError):
        return (cpu,)


def parse_cpu_list(cpu_list: str) -> tuple[int, ...]:
    """``0-2,8`` -> ``(0, 1, 2, 8)``: the notation of Linux for sets of CPUs."""
    ids: list[int] = []
    for part in filter(None, cpu_list.strip().split(",")):
        first, _, last = part.partition("-")
        ids.extend(range(int(first), int(last or first) + 1))
    return tuple(ids)
