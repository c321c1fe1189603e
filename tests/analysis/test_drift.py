"""Speeds relative to the reference workload."""

from __future__ import annotations

import pytest
from small_studies import ACCURACY, COST, SPEED, trial

from autotune.analysis.drift import has_drifted, log_drift, relative_ratio
from autotune.domain import Trial

LATENCY, REFERENCE = "inference_latency_ms", "reference_seconds"


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


def test_without_a_common_reference_speeds_are_compared_as_they_are() -> None:
    default = run(0, 0.1)
    for other in (run(1, None), run(1, 0.2, device="cuda:0")):
        assert log_drift(other, default) is None
        assert relative_ratio(SPEED, other, default) == 1.0
    assert relative_ratio(SPEED, default, None) is None
