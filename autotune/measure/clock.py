"""Clocks that wait for the device, and the windows they cut out of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


def synchronise(device: torch.device) -> None:
    """Wait until all work given to ``device`` is done; a CPU always is."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def now(device: torch.device) -> float:
    """Seconds on a monotonic clock, read when the device has nothing left to do."""
    synchronise(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Window:
    """A stretch of a run: examples done in it and the seconds it took. Windows of warm-up are
    kept but count for nothing."""

    examples: int
    seconds: float
    warmup: bool = False

    @property
    def rate(self) -> float:
        return self.examples / self.seconds
