"""A clock that waits for the device, and timing windows."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has finished all submitted work; a no-op on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def now(device: torch.device) -> float:
    """Seconds on a monotonic clock, read after the device has finished its work."""
    synchronise(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Window:
    """A timing window: the number of examples and the seconds. Windows of the warm-up, and those in
    which the speed of the machine changed (``disturbed``), are recorded but do not enter any speed.
    """

    examples: int
    seconds: float
    warmup: bool = False
    disturbed: bool = False

    @property
    def is_steady(self) -> bool:
        return not (self.warmup or self.disturbed)

    @property
    def rate(self) -> float:
        return self.examples / self.seconds
