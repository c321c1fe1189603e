"""Lanes of the time line, early stops, predictions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from small_studies import SPEED, START, trial

from autotune.analysis.course import foretold, stops, timeline
from autotune.domain import CurvePoint, Evidence, State


def test_trials_side_by_side_take_lanes() -> None:
    first, second, third = (trial(n) for n in range(3))
    beside = replace(second, started_at=START + timedelta(seconds=10))
    running = replace(third, finished_at=None, state=State.RUNNING)
    bars = timeline(
        [first, beside, running, trial(3, state=State.QUEUED)], START + timedelta(hours=1)
    )
    assert [(bar.trial.number, bar.lane) for bar in bars] == [(0, 0), (1, 1), (2, 0)]
    assert bars[-1].end == START + timedelta(hours=1)


def test_stops_say_how_far_a_trial_came() -> None:
    points = [
        CurvePoint(10, 100, 80, 1.0),
        CurvePoint(25, 100, 200, 2.0, metrics={"accuracy": 0.5}),
    ]
    pruned, unknown = trial(1, state=State.PRUNED), trial(2, state=State.PRUNED)
    known, blank = stops([trial(0), pruned, unknown], {1: points})
    assert (known.trial.number, known.step, known.share, known.rungs) == (1, 25, 0.25, 1)
    assert (blank.step, blank.share, blank.rungs) == (None, None, 0)


def test_predictions_stand_beside_measurements() -> None:
    made = trial(1, {SPEED: 10.0})
    noted = replace(
        made,
        evidence=Evidence(
            made.evidence.measurements,
            environment={"predicted": {SPEED: 12, "peak_memory_gib": 2.5, "note": "x"}},
        ),
    )
    assert [(f.metric, f.predicted, f.measured) for f in foretold(noted)] == [
        ("peak_memory_gib", 2.5, None),
        (SPEED, 12.0, 10.0),
    ]
    assert foretold(made) == []
