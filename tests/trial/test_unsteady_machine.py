"""The profile phase discards what it measured while the speed of the machine changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.measure.clock import Window
from autotune.measure.measurements import throughput
from autotune.trial import profiling
from autotune.trial.distributed.process_group import SingleProcess
from autotune.trial.training_run import TrainingRun

SPEED = 100.0
"""Examples per second while nothing else runs."""


@dataclass
class _Reference:
    """A reference workload whose pairs of calls take these times."""

    times: Iterator[float]
    seconds: list[float] = field(default_factory=list)
    discarded: int = 0

    def measure(self, times: int = 1) -> None:
        self.seconds += [next(self.times)] * times

    def discard(self) -> None:
        self.discarded += len(self.seconds)
        self.seconds.clear()


class _Run(TrainingRun):
    """Windows of 100 examples; each takes the time that the reference workload took last."""

    def __init__(self, reference: _Reference, steps: int) -> None:
        self.windows = [Window(100, 5.0, warmup=True)]
        self.reference: Any = reference
        self.state: Any = SimpleNamespace(group=SingleProcess())
        self._left = steps

    @property
    def is_finished(self) -> bool:
        return self._left == 0

    def run_window(self) -> None:
        self._left -= 1
        self.windows.append(Window(100, 100 / SPEED * self.reference.seconds[-1] / 0.05))


def _profile(*times: float, steps: int = 100) -> _Run:
    run = _Run(_Reference(iter(times)), steps)
    profiling.measure_speed(run)
    return run


@pytest.mark.parametrize(
    ("times", "windows", "speed"),
    [
        ((0.05, 0.06), 3, SPEED),  # steady
        ((0.05, 0.15, 0.15, 0.15), 6, SPEED / 3),  # a program began to run after the windows
        ((0.15, 0.05, 0.05, 0.05), 6, SPEED),  # it ended
        ((0.15, 0.05, 0.05, 0.15, 0.15, 0.16), 9, SPEED / 3),
        ((0.05, 0.15) * 4, 12, SPEED),  # never steady: it ends all the same
    ],
)
def test_only_windows_between_equal_timings_count(
    times: tuple[float, ...], windows: int, speed: float
) -> None:
    run = _profile(*times)
    assert len(run.windows) == 1 + windows
    assert run.steady_windows == 3
    measured = throughput("train_samples_per_second", run.windows)
    assert measured.value == pytest.approx(speed)
    assert len(run.reference.seconds) == 2 * profiling.REFERENCE_CALLS
    assert run.reference.discarded == 2 * profiling.REFERENCE_CALLS * (windows // 3 - 1)


def test_the_warmup_stays_one() -> None:
    """It tells how long the set-up takes; other windows do not."""
    first, *others = _profile(0.05, 0.15, 0.15, 0.15).windows
    assert first == Window(100, 5.0, warmup=True)
    assert not any(window.warmup for window in others)
    assert [window.disturbed for window in others] == [True] * 3 + [False] * 3


def test_timings_between_windows_belong_to_neither_end() -> None:
    run = _Run(_Reference(iter((0.05, 0.05))), 100)
    run_window = run.run_window

    def run_slowly() -> None:
        run_window()
        run.reference.seconds.append(0.05 if run.steady_windows < 3 else 0.2)

    run.run_window = run_slowly  # type: ignore[method-assign]
    profiling.measure_speed(run)
    assert run.steady_windows == 3


def test_a_training_that_ends_is_not_repeated() -> None:
    assert _profile(0.05, 0.15, steps=2).steady_windows == 2


def test_all_windows_count_if_none_is_steady() -> None:
    windows = [replace(Window(100, 1.0), disturbed=True), Window(100, 1.0, warmup=True)]
    assert throughput("train_samples_per_second", windows).value == pytest.approx(100)
