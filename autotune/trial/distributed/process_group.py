"""A model made ready to train, and the processes that train it.

Most trials are one process: :class:`Alone`. A trial of several has
:class:`autotune.trial.distributed.collectives.Group` in its place, in each of them. Nothing here knows of
collectives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from autotune.domain import CurvePoint
from autotune.measure import memory
from autotune.measure.clock import Window
from autotune.ports import Report
from autotune.trial.data.batching import Indices
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.plan import TrainingPlan

T = TypeVar("T")


class ProcessGroup(Protocol):
    """The processes of a trial, as one of them sees it. Every method is called by all of them, in
    the same order."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process speaks for the trial."""

    def main_process_first(self, function: Callable[[], T]) -> T:
        """Call ``function`` in every process, in the leader's first: it finds things made."""

    def window_done(self, steps: int, seconds: float, wanted: float) -> bool:
        """Whether a window that has taken ``steps`` in ``seconds`` has lasted ``wanted``."""

    def mean(self, losses: Sequence[Tensor], seconds: float) -> float:
        """Mean loss of a window's steps, over all processes."""

    def shard(self, batches: list[T]) -> list[T]:
        """Those that this process judges. Together the processes judge each once."""

    def all_reduce(self, array: np.ndarray) -> np.ndarray:
        """Sum over processes, each of which has filled in its share and left zeros elsewhere."""

    def merge(self, windows: list[Window]) -> list[Window]:
        """Windows timed at the same time in all processes, as those of the whole trial."""

    def tell(self, report: Report, point: CurvePoint) -> str | None:
        """Say how far training is; the same answer in all processes."""

    def peaks_gib(self) -> list[float] | None:
        """Highest resident memory of each process; ``None`` where the kernel does not tell."""

    def device_peaks_gib(self) -> tuple[float, float] | None:
        """Highest CUDA memory over all devices: allocated, reserved."""

    def sum(self, known: float | None) -> float | None:
        """Sum over the processes that know a number; ``None`` where none does."""

    def destroy(self) -> None:
        """Part when all are done."""


@dataclass(frozen=True)
class SingleProcess:
    """One process. It speaks for itself and does everything."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    is_main_process: bool = True

    def main_process_first(self, function: Callable[[], T]) -> T:
        return function()

    def window_done(self, steps: int, seconds: float, wanted: float) -> bool:
        return seconds >= wanted

    def mean(self, losses: Sequence[Tensor], seconds: float) -> float:
        return float(torch.stack(list(losses)).mean())

    def shard(self, batches: list[T]) -> list[T]:
        return batches

    def all_reduce(self, array: np.ndarray) -> np.ndarray:
        return array

    def merge(self, windows: list[Window]) -> list[Window]:
        return windows

    def tell(self, report: Report, point: CurvePoint) -> str | None:
        return report(point)

    def peaks_gib(self) -> list[float] | None:
        peak = memory.peak_gib()
        return None if peak is None else [peak]

    def device_peaks_gib(self) -> tuple[float, float] | None:
        return memory.device_peaks_gib(self.device)

    def sum(self, known: float | None) -> float | None:
        return known

    def destroy(self) -> None:
        return None


class DistributedModel(Protocol):
    """A model whose work or weights are spread over the processes of a crew."""

    def step(self, ready: TrainState, schedule: TrainingPlan, rows: Indices, rate: float) -> Tensor:
        """One optimizer step over a global batch; returns this process's part of its loss."""

    def unsharded(self) -> PreTrainedModel:
        """The model as one process would have it now, in every process."""


@dataclass(frozen=True)
class TrainState:
    """A model that the strategy has been applied to. ``run`` is what training calls: the model, or
    its compiled form; both share their weights. Where several processes train, ``divided`` takes
    their common steps, and ``model`` is what this one of them holds."""

    model: PreTrainedModel
    run: Callable[..., Any]
    optimizer: Optimizer
    precision: Precision
    peak_rate: float
    masks: Masks | None
    device: torch.device
    crew: ProcessGroup = field(default_factory=SingleProcess)
    divided: DistributedModel | None = None

    def unsharded(self) -> TrainState:
        """This, or where the model is divided the same with all of it, to be judged and run."""
        if self.divided is None:
            return self
        model = self.divided.unsharded()
        return replace(self, model=model, run=model, divided=None)
