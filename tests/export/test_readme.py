"""The README of an export: the comparison with the default, and figures that are possible."""

from __future__ import annotations

from autotune.domain import Measurement, State, Trial, TrialResult
from autotune.export.base import strategy_document
from autotune.export.readme import readme
from tests.export.samples import study

SPEED, INFERENCE, COST = "train_samples_per_second", "inference_samples_per_second", "cost_usd"


def text(comparison: str = "") -> str:
    measurements = (
        Measurement(SPEED, 50.0, "samples/s", 2, (-300.0, 400.0), source=3),
        Measurement(INFERENCE, 202.0, "samples/s", 6, (-95.6, 499.6)),
        Measurement(COST, 0.01, "USD"),
    )
    result = TrialResult({m.name: m for m in measurements})
    trial = Trial(7, State.COMPLETE, study().baseline, result=result)
    document = {
        **strategy_document(study(), trial, "hf-trainer"),
        "data": {"train_samples": None}, "left_out": {}, "comparison": comparison,
        "command": ["python", "train.py"],
    }  # fmt: skip
    return readme(document, "For the Trainer.", {})


def test_no_speed_is_negative_and_what_has_no_interval_says_why() -> None:
    rows = {line.split("|")[1].strip(): line for line in text().splitlines() if line[:1] == "|"}
    assert "none: 2 timing windows, fewer than 3 | trial 3" in rows[SPEED]
    assert "-95.6" not in text() and " to " in rows[INFERENCE]
    assert "none: follows from the training speed" in rows[COST]


def test_the_comparison_with_the_default() -> None:
    assert "In its study" not in text()
    assert "In its study: 3.1x faster." in text("3.1x faster")
