"""Speeds relative to the reference workload."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_studies import ACCURACY, COST, SPEED, trial

from autotune.analysis.drift import has_drifted, is_clear_difference, log_drift, relative_ratio
from autotune.analysis.text import UNCLEAR, format_ratio_to_default
from autotune.domain import Measurement, Trial, TrialResult

LATENCY, REFERENCE = "inference_latency_ms", "reference_seconds"
Figure = tuple[float, tuple[float, float] | None]
"""A value with its interval."""


def run(number: int, reference: float | None, device: str = "cpu", **metrics: float) -> Trial:
    values = {SPEED: 100.0, LATENCY: 10.0, ACCURACY: 0.8, COST: 1.0, "train_seconds": 10.0}
    values |= {"setup_seconds": 4.0, **metrics}
    if reference is not None:
        values[REFERENCE] = reference
    return trial(number, values, values={"batch_size": 8, "device": device})


@pytest.mark.parametrize(
    ("metric", "ratio"),
    [(SPEED, 2.0), (LATENCY, 0.5), (ACCURACY, 1.0), (REFERENCE, 2.0),
     ("train_seconds", 0.7), (COST, 0.7)],
)  # fmt: skip
def test_a_busy_machine_makes_nothing_faster(metric: str, ratio: float) -> None:
    """Equal figures on a machine that took twice as long are those of a faster strategy. The setup,
    40% of the time, does not depend on the speed."""
    busy, default = run(1, 0.2), run(0, 0.1)
    assert relative_ratio(metric, busy, default) == pytest.approx(ratio)
    assert has_drifted(busy, default) and not has_drifted(default, default)


@pytest.mark.parametrize(
    ("metric", "first", "second", "is_clear"),
    [
        (SPEED, (100.0, (98.0, 102.0)), (104.0, (102.0, 106.0)), True),
        (SPEED, (100.0, (95.0, 105.0)), (104.0, (99.0, 109.0)), False),
        (SPEED, (100.0, None), (300.0, (290.0, 310.0)), False),
        (ACCURACY, (0.80, (0.78, 0.82)), (0.83, (0.81, 0.85)), True),
        (ACCURACY, (0.80, (0.77, 0.83)), (0.83, (0.80, 0.86)), False),
        (ACCURACY, (0.80, None), (0.83, None), False),
        ("peak_memory_gib", (1.0, None), (0.9, None), True),
        ("model_size_mib", (86.6, None), (86.6, None), True),
    ],
)
def test_measurements_differ_by_more_than_their_errors(
    metric: str, first: Figure, second: Figure, is_clear: bool
) -> None:
    runs = [
        replace(
            trial(number, values={"batch_size": 8 * (number + 1)}),
            result=TrialResult({metric: Measurement(metric, value, "", 8, ci95)}),
        )
        for number, (value, ci95) in enumerate((first, second))
    ]
    assert is_clear_difference(metric, runs[1], runs[0]) is is_clear
    assert is_clear_difference(metric, runs[0], runs[0]), "a trial is not compared with itself"
    text = format_ratio_to_default(metric, runs[1], runs[0])
    assert text is not None and text.endswith(UNCLEAR) is not is_clear


def test_without_a_common_reference_speeds_are_compared_as_they_are() -> None:
    default = run(0, 0.1)
    for other in (run(1, None), run(1, 0.2, device="cuda:0")):
        assert log_drift(other, default) is None
        assert relative_ratio(SPEED, other, default) == 1.0
    assert relative_ratio(SPEED, default, None) is None
