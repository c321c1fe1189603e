"""The price book: US dollars per hour where a study file names no prices.

Rounded mid-market on-demand rates of spring 2026 for one GPU, and for one core of a general-purpose
machine. Providers differ by a factor of two and more, so whoever decides by cost sets ``prices``.
"""

from __future__ import annotations

from collections.abc import Mapping

from autotune.domain import Prices

CPU_CORE_USD = 0.04

GPU_USD: Mapping[str, float] = {
    "B300": 7.50,
    "B200": 6.00,
    "H200": 3.80,
    "H100": 2.95,
    "A100": 1.80,
    "L40S": 1.25,
    "A10": 0.75,
    "L4": 0.70,
    "T4": 0.40,
    "V100": 0.60,
    "P100": 0.40,
    "RTX 6000": 0.80,
    "RTX A6000": 0.50,
    "RTX 5090": 0.70,
    "RTX 4090": 0.45,
    "RTX 3090": 0.30,
    "RTX": 0.20,
    "GTX": 0.10,
    "Apple": 0.15,
}
"""By a part of the device's name; where several fit, the longest counts."""


NO_NODES: Mapping[str, float] = {}


def book(
    cpu_core: float | None, gpus: Mapping[str, float], nodes: Mapping[str, float] = NO_NODES
) -> Prices:
    """The default prices with the user's own over them; names are compared without case."""
    own = {name.lower() for name in gpus}
    kept = {name: usd for name, usd in GPU_USD.items() if name.lower() not in own}
    return Prices(CPU_CORE_USD if cpu_core is None else cpu_core, {**kept, **gpus}, nodes)
