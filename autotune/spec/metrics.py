"""Which metrics a study can measure on this host."""

from __future__ import annotations

from collections.abc import Collection

from autotune.domain import Host, Prices, SearchSpace, Strategy
from autotune.domain.search_space import settings
from autotune.levers import hourly_usd

COST = ("cost_usd", "inference_usd_per_million")
DEVICE_MEMORY = ("device_memory_gib", "device_memory_reserved_gib")

UNDEFINED = {"token-classification": ("mcc",)}
"""Scores that a kind of task does not have."""

_COUNTERS = {"cuda": "nvml", "cpu": "rapl"}
"""What has to be among the host's tools for the energy of a device to be known."""


def devices(space: SearchSpace) -> tuple[str, ...]:
    """Every device that a trial of the space may use, the default configuration's first."""
    searched = (d.domain for d in space.dimensions if d.lever == "device")
    found = [str(value) for domain in searched for value in settings(domain) or ()]
    return tuple(dict.fromkeys((str(space.defaults["device"]), *found)))


def why_not(metric: str, kind: str, host: Host, prices: Prices, space: SearchSpace) -> str | None:
    """Why ``metric`` would be missing from some trials of the space, of a task of this ``kind``;
    ``None`` where it is not."""
    if metric in UNDEFINED.get(kind, ()):
        return f"is not defined for {kind}"
    used = devices(space)
    if metric in DEVICE_MEMORY:
        return _outside(used, ("cuda",), "is known for CUDA devices only")
    if metric == "energy_wh":
        counted = [kind for kind, tool in _COUNTERS.items() if tool in host.tools]
        return _outside(used, counted, "needs energy counters (NVML for a GPU, RAPL for a CPU)")
    if metric in COST:
        unpriced = [d for d in used if _price(space, d, host, prices) is None]
        names = {d.id: d.name or d.id for d in host.devices}
        if unpriced:
            missing = ", ".join(names.get(d, d) for d in unpriced)
            return f"needs a price for {missing}; set prices.gpus.NAME, with a part of its name"
    return None


def _outside(used: Collection[str], kinds: Collection[str], reason: str) -> str | None:
    without = [device for device in used if device.split(":")[0] not in kinds]
    return f"{reason}; this study also runs on {', '.join(without)}" if without else None


def _price(space: SearchSpace, device: str, host: Host, prices: Prices) -> float | None:
    return hourly_usd(Strategy({**space.defaults, "device": device}), host, prices)
