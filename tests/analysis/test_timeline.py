"""The timeline, early stops, rungs and predictions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from small_studies import SPEED, START, trial

from autotune.analysis.timeline import early_stops, prediction_checks, rung_counts, timeline
from autotune.domain import CurvePoint, State, TrialOrigin, TrialResult


def test_concurrent_trials_have_different_lanes() -> None:
    first, second, third = (trial(n) for n in range(3))
    concurrent = replace(second, started_at=START + timedelta(seconds=10))
    running = replace(third, finished_at=None, state=State.RUNNING)
    bars = timeline(
        [first, concurrent, running, trial(3, state=State.QUEUED)], START + timedelta(hours=1)
    )
    assert [(bar.trial.number, bar.lane) for bar in bars] == [(0, 0), (1, 1), (2, 0)]
    assert bars[-1].end == START + timedelta(hours=1)


RUNGS = [
    CurvePoint(10, 100, 80, 1.0),
    CurvePoint(25, 100, 200, 2.0, metrics={"accuracy": 0.5}),
    CurvePoint(50, 100, 400, 4.0, metrics={"accuracy": 0.6}),
    CurvePoint(100, 100, 800, 8.0, metrics={"accuracy": 0.7}),
]


def test_early_stops_have_the_progress_of_the_trial() -> None:
    pruned, profiled = trial(1, state=State.PRUNED), trial(2, state=State.PRUNED)
    stopped = early_stops([trial(0), pruned, profiled], {1: RUNGS[:2]})
    assert [(stop.trial.number, stop.share) for stop in stopped] == [(1, 0.25), (2, 0.0)]
    assert [stop.share for stop in early_stops([pruned], None)] == [None]


def test_rungs_count_reached_and_stopped_trials() -> None:
    trials = [trial(0), *(trial(n, state=State.PRUNED) for n in (1, 2, 3)), trial(4)]
    slow = [replace(p, step=101, total_steps=200) if p.step == 50 else p for p in RUNGS]
    counts = rung_counts(trials, {0: RUNGS, 1: RUNGS[:2], 2: slow[:3], 4: slow})
    assert (counts[0].share, counts[0].reached, counts[0].stopped) == (0.0, 5, 1)
    assert [(r.reached, r.stopped) for r in counts[1:]] == [(4, 1), (3, 1)]
    assert rung_counts([trial(5, state=State.FAILED)], {}) == []


def test_predictions_are_paired_with_measurements() -> None:
    measured = trial(1, {SPEED: 10.0})
    predicted = replace(
        measured,
        result=TrialResult(
            measured.result.measurements,
            environment={"predicted": {SPEED: 12, "peak_memory_gib": 2.5, "note": "x"}},
        ),
    )
    assert [(c.metric, c.predicted, c.measured) for c in prediction_checks(predicted)] == [
        ("peak_memory_gib", 2.5, None),
        (SPEED, 12.0, 10.0),
    ]
    assert prediction_checks(measured) == []


def test_predictions_have_an_interval_and_include_the_duration_of_a_full_trial() -> None:
    predictions = {"peak_memory_gib": 2.0, "seconds": 9.0, "intervals": {"seconds": [8.0, 10.0]}}
    measured = trial(1, {SPEED: 10.0})
    checked = replace(
        measured, result=replace(measured.result, environment={"predicted": predictions})
    )
    memory, seconds = prediction_checks(checked)
    assert (memory.metric, memory.interval) == ("peak_memory_gib", None)
    assert (seconds.predicted, seconds.interval) == (9.0, (8.0, 10.0))
    assert seconds.measured == checked.seconds
    stopped = replace(checked, state=State.PRUNED)
    assert prediction_checks(stopped)[1].measured is None
    rest = replace(checked, origin=TrialOrigin.CONTINUED)
    assert prediction_checks(rest)[1].measured is None, "an earlier trial began its training"


def test_trials_that_went_on_later_were_not_stopped() -> None:
    paused, other = trial(1, state=State.PRUNED), trial(2, state=State.PRUNED, seed=1)
    went_on = trial(3, origin=TrialOrigin.CONTINUED)
    stops = early_stops([paused, other, went_on], {})
    assert [stop.trial.number for stop in stops] == [2]
    assert rung_counts([paused, went_on], {1: RUNGS[:2], 3: RUNGS})[1].stopped == 0


def test_the_profile_is_no_rung() -> None:
    profile = replace(RUNGS[0], metrics={SPEED: 100.0, "peak_memory_gib": 2.0})
    counts = rung_counts([trial(1, state=State.PRUNED)], {1: [profile]})
    assert [(rung.share, rung.stopped) for rung in counts] == [(0.0, 1)]
