"""The processes of a trial: :class:`ProcessGroup` and its implementation for one process.

Trials of several processes use :class:`autotune.trial.distributed.collectives.DistributedGroup`.
This module does not import torch.distributed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from autotune.domain import CurvePoint
from autotune.measure import memory
from autotune.measure.clock import Window
from autotune.ports import Report

T = TypeVar("T")


class ProcessGroup(Protocol):
    """The processes of a trial, seen from one of them. Every method is collective: all processes
    call it, in the same order."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process reports for the trial (rank 0)."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    def data_rank(self) -> int:
        """The number of this process among those that have other examples, from 0."""

    def main_process_first(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the main process, then in the others, which can use its cache."""

    def window_done(self, steps: int, seconds: float, min_seconds: float) -> bool:
        """Whether a window of ``steps`` that has taken ``seconds`` has lasted ``min_seconds``."""

    def mean_loss(self, losses: Sequence[Tensor], seconds: float) -> float:
        """Mean loss over the steps of a window and over all processes."""

    def shard(self, batches: list[T]) -> list[T]:
        """The batches that this process evaluates; each batch belongs to exactly one process."""

    def all_reduce(self, array: np.ndarray) -> np.ndarray:
        """The sum of ``array`` over all processes."""

    def merge_windows(self, windows: list[Window]) -> list[Window]:
        """Windows of the trial, from the windows that each process timed concurrently."""

    def report_progress(self, report: Report, point: CurvePoint) -> str | None:
        """Report a point of the curve; return the search's answer, the same in all processes."""

    def peaks_gib(self) -> list[float] | None:
        """Peak resident memory of each process; ``None`` where the system does not report it."""

    def device_peaks_gib(self) -> tuple[float, float] | None:
        """Peak CUDA memory summed over all devices: (allocated, reserved)."""

    def sum(self, value: float | None) -> float | None:
        """Sum over the processes whose ``value`` is not ``None``; ``None`` if there are none."""

    def destroy(self) -> None:
        """Wait for all processes and destroy the group."""


@dataclass(frozen=True)
class SingleProcess:
    """The process group of a trial of one process."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    is_main_process: bool = True
    rank: int = 0
    data_rank: int = 0

    def main_process_first(self, function: Callable[[], T]) -> T:
        return function()

    def window_done(self, steps: int, seconds: float, min_seconds: float) -> bool:
        return seconds >= min_seconds

    def mean_loss(self, losses: Sequence[Tensor], seconds: float) -> float:
        return float(torch.stack(list(losses)).mean())

    def shard(self, batches: list[T]) -> list[T]:
        return batches

    def all_reduce(self, array: np.ndarray) -> np.ndarray:
        return array

    def merge_windows(self, windows: list[Window]) -> list[Window]:
        return windows

    def report_progress(self, report: Report, point: CurvePoint) -> str | None:
        return report(point)

    def peaks_gib(self) -> list[float] | None:
        peak = memory.peak_gib()
        return None if peak is None else [peak]

    def device_peaks_gib(self) -> tuple[float, float] | None:
        return memory.device_peaks_gib(self.device)

    def sum(self, value: float | None) -> float | None:
        return value

    def destroy(self) -> None:
        return None
