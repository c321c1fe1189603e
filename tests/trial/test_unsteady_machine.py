"""The profile phase goes on while the speed of the machine changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from autotune.trial import profiling
from autotune.trial.distributed.process_group import SingleProcess


@dataclass
class _Reference:
    """A reference workload whose pairs of calls take these times."""

    times: Iterator[float]
    seconds: list[float] = field(default_factory=list)

    def measure(self, times: int = 1) -> None:
        self.seconds += [next(self.times)] * times


def _profile(*times: float, steps: int = 100) -> Any:
    run = SimpleNamespace(steady_windows=0, is_finished=False, reference=_Reference(iter(times)))
    run.state = SimpleNamespace(group=SingleProcess())

    def run_window() -> None:
        run.steady_windows += 1
        run.is_finished = run.steady_windows == steps

    run.run_window = run_window
    profiling.measure_speed(run)
    return run


@pytest.mark.parametrize(
    ("times", "windows"),
    [
        ((0.05, 0.06), 3),  # steady
        ((0.05, 0.15, 0.15), 6),  # a program began to run
        ((0.15, 0.05, 0.15, 0.15), 9),
        ((0.05, 0.15, 0.05, 0.15, 0.05), 12),  # never steady: it ends all the same
    ],
)
def test_windows_are_repeated_while_the_machine_changes(
    times: tuple[float, ...], windows: int
) -> None:
    assert _profile(*times).steady_windows == windows


def test_a_training_that_ends_is_not_repeated() -> None:
    assert _profile(0.05, 0.15, steps=2).steady_windows == 2
