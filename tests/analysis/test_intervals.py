"""The interval of each figure, or why it has none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from small_studies import COST, SPEED, study, trial

from autotune.analysis.intervals import figure_interval
from autotune.analysis.records import pareto_record, trial_record
from autotune.domain import Measurement, Trial, TrialResult

INFERENCE = "inference_samples_per_second"


def measured(*measurements: Measurement) -> Trial:
    return replace(trial(0), result=TrialResult({m.name: m for m in measurements}))


def test_an_impossible_interval_is_read_on_the_scale_of_the_logarithm() -> None:
    run = measured(Measurement(INFERENCE, 202.0, "samples/s", 5, (-95.6, 499.6)))
    ends = figure_interval(run, INFERENCE).ci95
    assert ends is not None and 0 < ends[0] < 202 < ends[1]


@pytest.mark.parametrize("ci95", [(-95.6, 499.6), None])
def test_two_windows_give_no_interval(ci95: tuple[float, float] | None) -> None:
    interval = figure_interval(measured(Measurement(SPEED, 202.0, "x", 2, ci95)), SPEED)
    assert interval.ci95 is None and interval.reason == "2 timing windows, fewer than 3"


def test_cost_follows_from_the_speed() -> None:
    speed = Measurement(SPEED, 10.0, "samples/s", 5, (8.0, 12.5))
    cost, time = Measurement(COST, 1.0, "USD"), Measurement("train_seconds", 100.0, "s")
    setup = Measurement("setup_seconds", 20.0, "s")
    ends = figure_interval(measured(speed, cost, time, setup), COST).ci95
    assert ends == pytest.approx((1 - 0.8 * 0.2, 1 + 0.8 * 0.25)), "setup does not vary with speed"
    alone = figure_interval(measured(cost), COST)
    assert alone.ci95 is None and alone.reason and "no training speed" in alone.reason


def test_every_figure_of_the_records_has_an_interval_or_a_reason() -> None:
    names = (SPEED, "accuracy", COST, "model_size_mib", "peak_memory_gib", "setup_seconds")
    members = [trial(n, dict.fromkeys(names, 1.0 + n)) for n in range(2)]
    document = [trial_record(members[0]), pareto_record(study(), members)]
    figures = list(_figures(document))
    assert len(figures) >= 20
    for figure in figures:
        assert (figure["ci95"] is None) == bool(figure.get("why_no_interval")), json.dumps(figure)


def _figures(document: object) -> list[dict[str, object]]:
    if isinstance(document, list):
        return [figure for entry in document for figure in _figures(entry)]
    if not isinstance(document, dict):
        return []
    own = [document] if "ci95" in document else []
    return own + [figure for entry in document.values() for figure in _figures(entry)]
