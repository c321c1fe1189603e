"""What time costs. A price that is not known makes a cost that is not known."""

from __future__ import annotations

from autotune.domain import Measurement
from autotune.measure.measurements import exact, inverse

SECONDS_PER_HOUR = 3600


def of_fine_tune(hourly_usd: float | None, seconds: float) -> list[Measurement]:
    """``cost_usd``: everything that the trial holds, for as long as the fine-tune takes."""
    if hourly_usd is None:
        return []
    return [exact("cost_usd", hourly_usd * seconds / SECONDS_PER_HOUR)]


def of_inference(hourly_usd: float | None, speed: Measurement) -> list[Measurement]:
    """``inference_usd_per_million``: a million examples at ``speed`` examples a second."""
    if hourly_usd is None:
        return []
    per_million = hourly_usd / SECONDS_PER_HOUR * 1e6
    return [inverse("inference_usd_per_million", per_million, speed)]
