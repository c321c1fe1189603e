"""Collects the measurements, curve and events of a running trial."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy
import torch
import transformers

from autotune.domain import (
    Correctness,
    CurvePoint,
    Event,
    Measurement,
    SavedModel,
    TrialResult,
)


@dataclass
class TrialRecorder:
    """Everything recorded so far. ``seconds`` holds the duration of each stage by name.

    :meth:`result` can be called at any time, so that a trial that fails keeps its results.
    """

    measurements: dict[str, Measurement] = field(default_factory=dict)
    curve: list[CurvePoint] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    environment: dict[str, str | int | float] = field(default_factory=dict)
    correctness: Correctness | None = None
    model: SavedModel | None = None

    def add(self, *measurements: Measurement) -> None:
        self.measurements.update((measurement.name, measurement) for measurement in measurements)

    def add_event(self, kind: str, message: str) -> None:
        self.events.append(Event(datetime.now(UTC), kind, message))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the start, the end and the duration of a stage, as events of kind ``phase``."""
        self.add_event("phase", f"{name} begins")
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - start
            self.add_event("phase", f"{name} took {self.seconds[name]:.3f} s")

    def result(self) -> TrialResult:
        return TrialResult(
            measurements=dict(self.measurements),
            curve=tuple(self.curve),
            events=tuple(self.events),
            environment=dict(self.environment),
            correctness=self.correctness,
            model=self.model,
        )


def describe_environment(device: torch.device) -> Mapping[str, str | int]:
    """Versions, device and settings of this process."""
    environment: dict[str, str | int] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "host": platform.node(),
    }
    if device.type == "cuda":
        environment["gpu"] = torch.cuda.get_device_name(device)
        environment["cuda"] = torch.version.cuda or ""
    return environment
