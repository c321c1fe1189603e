"""How fast training is: examples and seconds of steady state, kept in ``metrics.json``."""

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
"""The first steps fill caches, pools and compilers; their windows count for nothing."""

WINDOW_SECONDS = 1.0
REFERENCE_EVERY_SECONDS = 4.0
REFERENCE_CALLS = 2


class Recorder:
    """Told of each optimizer step, it cuts training into windows of about a second.

    With ``TUNED_REFERENCE=1`` in the environment it also times a small fixed workload beside the
    windows, so that speeds measured at different hours can be compared.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device, self._seed = device, seed
        self._warmup = self._steps = 0
        referred = os.environ.get("TUNED_REFERENCE") == "1"
        self._reference = ReferenceWorkload(device) if referred else None
        self.windows: list[Window] = []
        self._done = self._examples = 0
        self._since_reference = 0.0
        self._begun = 0.0

    def start(self, steps: int) -> None:
        """Training begins now, will take ``steps`` optimizer steps, and draws the same dropout as
        the trial did, whatever the trainer has drawn until here."""
        self._warmup, self._steps = min(WARMUP_STEPS, steps // 4), steps
        if self._reference is not None:
            self._reference.measure(REFERENCE_CALLS)
        torch.manual_seed(self._seed)
        self._begun = now(self._device)

    def step(self, examples: int) -> None:
        """An optimizer step over ``examples`` has been taken."""
        self._done += 1
        self._examples += examples
        ended = self._done in (self._warmup, self._steps)
        if ended or time.perf_counter() - self._begun >= WINDOW_SECONDS:
            seconds = now(self._device) - self._begun
            self.add(Window(self._examples, seconds, warmup=self._done <= self._warmup))
            self.refer()
            self._examples, self._begun = 0, now(self._device)

    def add(self, window: Window) -> None:
        """A window has been timed."""
        self.windows.append(window)
        self._since_reference += window.seconds

    def refer(self) -> None:
        """Time the reference workload, where it is wanted and was not for some seconds."""
        if self._reference is not None and self._since_reference >= REFERENCE_EVERY_SECONDS:
            self._reference.measure()
            self._since_reference = 0.0

    @property
    def samples_per_second(self) -> float:
        """Over the windows after warm-up, or over all where there are no others."""
        steady = [window for window in self.windows if not window.warmup] or self.windows
        return sum(w.examples for w in steady) / sum(w.seconds for w in steady)

    def write(self, folder: Path, scores: Mapping[str, Mapping[str, Measurement]]) -> None:
        """Write ``metrics.json``: speed with its raw windows, and scores by split."""
        if self._reference is not None:
            self._reference.measure(REFERENCE_CALLS)
        document = {
            "train_samples_per_second": self.samples_per_second,
            "train_seconds": sum(window.seconds for window in self.windows),
            "windows": [asdict(window) for window in self.windows],
            "reference_seconds": self._reference.seconds if self._reference else [],
            **{split: {k: asdict(m) for k, m in found.items()} for split, found in scores.items()},
        }
        text = json.dumps(document, indent=1)
        (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
