"""Which metrics a study can measure on a host."""

from __future__ import annotations

from collections.abc import Collection

from autotune.domain import Host, Prices, SearchSpace, Strategy
from autotune.domain.metrics import METRICS, Requirement
from autotune.domain.search_space import settings
from autotune.domain.tasks import has_metric
from autotune.levers import hourly_usd

_ENERGY_COUNTERS = {"cuda": "nvml", "cpu": "rapl"}
"""By device kind, the tool of the host that counts its energy."""


def searched_devices(space: SearchSpace) -> tuple[str, ...]:
    """Every device that a trial of ``space`` can use, that of the default strategy first."""
    domains = (d.domain for d in space.dimensions if d.lever == "device")
    devices = [str(value) for domain in domains for value in settings(domain) or ()]
    return tuple(dict.fromkeys((str(space.defaults["device"]), *devices)))


def why_unmeasurable(
    metric: str, task_kind: str, host: Host, prices: Prices, space: SearchSpace
) -> str | None:
    """Why some trials of ``space`` would lack ``metric``; ``None`` if all can measure it."""
    if not has_metric(task_kind, metric):
        return f"is not defined for {task_kind}"
    devices, requirement = searched_devices(space), METRICS[metric].requires
    if requirement is Requirement.CUDA:
        return _unsupported(devices, ("cuda",), "is known for CUDA devices only")
    if requirement is Requirement.ENERGY_COUNTERS:
        kinds = [kind for kind, tool in _ENERGY_COUNTERS.items() if tool in host.tools]
        return _unsupported(
            devices, kinds, "needs energy counters (NVML for a GPU, RAPL for a CPU)"
        )
    if requirement is Requirement.PRICES:
        unpriced = [d for d in devices if _hourly_usd(space, d, host, prices) is None]
        names = {d.id: d.name or d.id for d in host.devices}
        if unpriced:
            missing = ", ".join(names.get(d, d) for d in unpriced)
            return f"needs a price for {missing}; set prices.gpus.NAME, with a part of its name"
    return None


def _unsupported(devices: Collection[str], kinds: Collection[str], reason: str) -> str | None:
    others = [device for device in devices if device.split(":")[0] not in kinds]
    return f"{reason}; this study also runs on {', '.join(others)}" if others else None


def _hourly_usd(space: SearchSpace, device: str, host: Host, prices: Prices) -> float | None:
    return hourly_usd(Strategy({**space.defaults, "device": device}), host, prices)
