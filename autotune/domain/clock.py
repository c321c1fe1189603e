"""The clock of this process: UTC when it started, and monotonic from then on."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


def monotonic_seconds() -> float:
    """Seconds on a clock that nobody sets. On Linux it includes the time of a suspended host."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


_START, _START_SECONDS = datetime.now(UTC), monotonic_seconds()


def utc_now() -> datetime:
    """The current time. The difference of two values is a duration, even if the clock of the host
    is set in between."""
    return _START + timedelta(seconds=monotonic_seconds() - _START_SECONDS)
