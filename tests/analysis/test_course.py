"""Lanes of the time line, early stops, predictions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from small_studies import SPEED, START, trial

from autotune.analysis.timeline import early_stops, prediction_checks, rung_counts, timeline
from autotune.domain import CurvePoint, State, TrialResult


def test_trials_side_by_side_take_lanes() -> None:
    first, second, third = (trial(n) for n in range(3))
    beside = replace(second, started_at=START + timedelta(seconds=10))
    running = replace(third, finished_at=None, state=State.RUNNING)
    bars = timeline(
        [first, beside, running, trial(3, state=State.QUEUED)], START + timedelta(hours=1)
    )
    assert [(bar.trial.number, bar.lane) for bar in bars] == [(0, 0), (1, 1), (2, 0)]
    assert bars[-1].end == START + timedelta(hours=1)


RUNGS = [
    CurvePoint(10, 100, 80, 1.0),
    CurvePoint(25, 100, 200, 2.0, metrics={"accuracy": 0.5}),
    CurvePoint(50, 100, 400, 4.0, metrics={"accuracy": 0.6}),
    CurvePoint(100, 100, 800, 8.0, metrics={"accuracy": 0.7}),
]


def test_stops_say_how_far_a_trial_came() -> None:
    pruned, probed = trial(1, state=State.PRUNED), trial(2, state=State.PRUNED)
    found = early_stops([trial(0), pruned, probed], {1: RUNGS[:2]})
    assert [(stop.trial.number, stop.share) for stop in found] == [(1, 0.25), (2, 0.0)]
    assert [stop.share for stop in early_stops([pruned], None)] == [None]


def test_rungs_count_who_came_and_who_was_stopped() -> None:
    made = [trial(0), *(trial(n, state=State.PRUNED) for n in (1, 2, 3)), trial(4)]
    slow = [replace(p, step=101, total_steps=200) if p.step == 50 else p for p in RUNGS]
    found = rung_counts(made, {0: RUNGS, 1: RUNGS[:2], 2: slow[:3], 4: slow})
    assert (found[0].share, found[0].reached, found[0].stopped) == (0.0, 5, 1)
    assert [(r.reached, r.stopped) for r in found[1:]] == [(4, 1), (3, 1)]
    assert rung_counts([trial(5, state=State.FAILED)], {}) == []


def test_predictions_stand_beside_measurements() -> None:
    made = trial(1, {SPEED: 10.0})
    noted = replace(
        made,
        result=TrialResult(
            made.result.measurements,
            environment={"predicted": {SPEED: 12, "peak_memory_gib": 2.5, "note": "x"}},
        ),
    )
    assert [(f.metric, f.predicted, f.measured) for f in prediction_checks(noted)] == [
        ("peak_memory_gib", 2.5, None),
        (SPEED, 12.0, 10.0),
    ]
    assert prediction_checks(made) == []


def test_predictions_come_with_their_interval_and_the_time_of_a_whole_trial() -> None:
    said = {"peak_memory_gib": 2.0, "seconds": 9.0, "intervals": {"seconds": [8.0, 10.0]}}
    made = trial(1, {SPEED: 10.0})
    one = replace(made, result=replace(made.result, environment={"predicted": said}))
    memory, seconds = prediction_checks(one)
    assert (memory.metric, memory.interval) == ("peak_memory_gib", None)
    assert (seconds.predicted, seconds.interval) == (9.0, (8.0, 10.0))
    assert seconds.measured == one.seconds
    stopped = replace(one, state=State.PRUNED)
    assert prediction_checks(stopped)[1].measured is None
