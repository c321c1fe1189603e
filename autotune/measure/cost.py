"""Cost in US dollars. Without a price there is no measurement."""

from __future__ import annotations

from autotune.domain import Measurement
from autotune.measure.measurements import exact, inverse

SECONDS_PER_HOUR = 3600


def training_cost(hourly_usd: float | None, seconds: float) -> list[Measurement]:
    """``cost_usd``: the price of all resources of the trial for the seconds of training."""
    if hourly_usd is None:
        return []
    return [exact("cost_usd", hourly_usd * seconds / SECONDS_PER_HOUR)]


def inference_cost(hourly_usd: float | None, speed: Measurement) -> list[Measurement]:
    """``inference_usd_per_million``: a million examples at ``speed`` samples per second."""
    if hourly_usd is None:
        return []
    per_million = hourly_usd / SECONDS_PER_HOUR * 1e6
    return [inverse("inference_usd_per_million", per_million, speed)]
