"""Measures training throughput and writes ``metrics.json``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from autotune.domain import Measurement
from autotune.measure.clock import Window, now
from autotune.measure.drift import ReferenceWorkload

WARMUP_STEPS = 5
"""The first steps fill caches, memory pools and compilers; their windows do not count."""

WINDOW_SECONDS = 1.0
REFERENCE_INTERVAL_SECONDS = 4.0
REFERENCE_CALLS = 2


class ThroughputRecorder:
    """Divides training into windows of about a second; the script reports each optimizer step.
    ``evaluations`` are scores on the validation split by step, ``best_step`` that of the best.

    With ``TUNED_REFERENCE=1`` in the environment it also times a small fixed workload between
    windows, so that speeds measured at different times can be compared.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device, self._seed = device, seed
        self._warmup_steps = self._total_steps = 0
        has_reference = os.environ.get("TUNED_REFERENCE") == "1"
        self._reference = ReferenceWorkload(device) if has_reference else None
        self.windows: list[Window] = []
        self._steps = self._window_examples = 0
        self._seconds_since_reference = 0.0
        self._window_start, self._is_paused = 0.0, False
        self.evaluations: list[dict[str, float]] = []
        self.best_step: int | None = None

    def start(self, steps: int) -> None:
        """Start the clock before the first of ``steps`` optimizer steps.

        Resets the random seed, so that dropout is that of the trial whatever random numbers the
        trainer has drawn. Processes with different examples have different seeds.
        """
        self._warmup_steps, self._total_steps = min(WARMUP_STEPS, steps // 4), steps
        if self._reference is not None:
            self._reference.measure(REFERENCE_CALLS)
        torch.manual_seed(self._seed)
        self._window_start = now(self._device)

    def step(self, examples: int) -> None:
        """Record an optimizer step over ``examples``."""
        self._steps += 1
        self._window_examples += examples
        is_boundary = self._steps in (self._warmup_steps, self._total_steps)
        if is_boundary or time.perf_counter() - self._window_start >= WINDOW_SECONDS:
            self.pause()
            self.measure_reference_if_due()
            self.resume()

    def pause(self) -> None:
        """End the window, if it has steps. What follows is no training."""
        self._is_paused = True
        if self._window_examples:
            seconds = now(self._device) - self._window_start
            is_warmup = self._steps <= self._warmup_steps
            self.add(Window(self._window_examples, seconds, warmup=is_warmup))
            self._window_examples = 0

    def resume(self) -> None:
        """Start the clock again after :meth:`pause`."""
        if self._is_paused:
            self._is_paused, self._window_start = False, now(self._device)

    def add(self, window: Window) -> None:
        """Record a timed window."""
        self.windows.append(window)
        self._seconds_since_reference += window.seconds

    def measure_reference_if_due(self) -> None:
        """Time the reference workload, if it is requested and enough seconds have passed."""
        is_due = self._seconds_since_reference >= REFERENCE_INTERVAL_SECONDS
        if self._reference is not None and is_due:
            self._reference.measure()
            self._seconds_since_reference = 0.0

    @property
    def samples_per_second(self) -> float:
        """Throughput over the windows after the warm-up, or over all if there are no others."""
        steady = [window for window in self.windows if not window.warmup] or self.windows
        return sum(w.examples for w in steady) / sum(w.seconds for w in steady)

    def write(self, folder: Path, scores: Mapping[str, Mapping[str, Measurement]]) -> None:
        """Write ``metrics.json``: throughput with its windows, and scores by split."""
        if self._reference is not None:
            self._reference.measure(REFERENCE_CALLS)
        document = {
            "train_samples_per_second": self.samples_per_second,
            "train_seconds": sum(window.seconds for window in self.windows),
            "windows": [asdict(window) for window in self.windows],
            "reference_seconds": self._reference.seconds if self._reference else [],
            **({"evaluations": self.evaluations} if self.evaluations else {}),
            **({"best_step": self.best_step} if self.best_step is not None else {}),
            **{
                split: {name: asdict(m) for name, m in measurements.items()}
                for split, measurements in scores.items()
            },
        }
        text = json.dumps(document, indent=1)
        (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
