"""The JSON documents: exact shape, plain data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_studies import ACCURACY, SPEED, START, study, trial, trials

from autotune.analysis.records import (
    full_trial_record,
    pareto_record,
    status_record,
    study_record,
    trial_record,
)
from autotune.domain import (
    CurvePoint,
    Event,
    Measurement,
    SearchState,
    SearchStatus,
    State,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.strategy import LATER_DEFAULTS
from autotune.measure.correctness import pack_correctness


def test_trial_record() -> None:
    measured = Measurement(SPEED, 10.0, "samples/s", n=5, ci95=(9.0, 11.0), source=3)
    record = trial_record(replace(trial(0), result=TrialResult({SPEED: measured})))
    assert record["metrics"] == {
        SPEED: {"value": 10.0, "unit": "samples/s", "n": 5, "ci95": [9.0, 11.0], "source": 3}
    }
    assert record["state"] == "complete"
    assert record["strategy"] == {**LATER_DEFAULTS, "batch_size": 8, "precision": "fp32"}
    assert record["started_at"] == "2026-03-01T12:00:00+00:00"
    assert json.loads(json.dumps(record)) == record


def test_running_trial_is_not_finished() -> None:
    record = trial_record(trial(1, state=State.RUNNING))
    assert record["finished_at"] is None and record["reason"] is None and record["metrics"] == {}


def test_pareto_record() -> None:
    record = pareto_record(study(), trials((10, 0.9), (20, 0.89), (5, 0.5)))
    assert list(record) == [
        "study", "objectives", "baseline", "front", "hypervolume", "knee", "recommendations",
        "why_no_interval",
    ]  # fmt: skip
    assert record["objectives"] == [
        {"metric": SPEED, "direction": "maximize"},
        {"metric": ACCURACY, "direction": "maximize"},
    ]
    assert [entry["number"] for entry in record["front"]] == [1, 0]
    assert record["baseline"]["number"] == 0
    assert record["knee"] == 0
    assert record["hypervolume"] > 1


def test_front_record_has_estimates_from_all_runs() -> None:
    members = trials((10, 0.9), (20, 0.8))
    run = trial(2, {SPEED: 22.0, ACCURACY: 0.7}, origin=TrialOrigin.CONFIRMATION, seed=1)
    first, _ = pareto_record(study(), [*members, run])["front"]
    assert (first["number"], first["confirmed"], first["confirming"]) == (1, True, [2])
    assert first["estimates"][SPEED]["value"] == pytest.approx(21.0)
    assert first["estimates"][SPEED]["runs"] == 2
    low, high = first["estimates"][SPEED]["ci95"]
    assert low < 21 < high
    assert first["test"][ACCURACY].items() >= {"value": 0.7, "ci95": None, "runs": 1}.items()
    assert first["status"] == "confirmed" and first["run_whole"] is True
    assert first["metrics"][ACCURACY]["value"] == 0.8, "the validation score of the search is kept"
    assert 0 < first["probability"] <= 1


def test_confirmation_runs_are_compared_with_those_of_the_default() -> None:
    members = trials((10, 0.9), (20, 0.8))
    runs = []
    for number, member, speed, hits in ((2, members[0], 11.0, 70), (3, members[1], 22.0, 65)):
        run = trial(number, {SPEED: speed, ACCURACY: hits / 100}, origin=TrialOrigin.CONFIRMATION)
        correctness = pack_correctness("test", np.arange(100) < hits)
        result = replace(run.result, correctness=correctness)
        runs.append(replace(run, strategy=member.strategy, seed=1, result=result))
    first, default = pareto_record(study(), [*members, *runs])["front"]
    assert default["paired"] == {}
    speed = first["paired"][SPEED]
    assert (speed["ratio"], speed["pairs"]) == (pytest.approx(2.0), 1)
    assert speed["ci95"][0] < 2 < speed["ci95"][1]
    accuracy = first["paired"][ACCURACY]
    assert accuracy["value"] == pytest.approx(-0.05)
    assert (accuracy["examples"], accuracy["seeds"], accuracy["by_example"]) == (100, 1, True)
    assert accuracy["default"]["value"] == 0.7
    assert json.loads(json.dumps(first)) == first


def test_trial_record_names_its_confirmation_runs() -> None:
    members = trials((10, 0.9), (20, 0.8))
    run = trial(2, {SPEED: 22.0, ACCURACY: 0.7}, origin=TrialOrigin.CONFIRMATION, seed=1)
    everything = [*members, run]
    assert full_trial_record(members[1], everything)["confirming"] == [2]
    assert full_trial_record(members[1], everything)["confirms"] is None
    assert full_trial_record(run, everything)["confirms"] == 1
    assert full_trial_record(run, everything)["confirming"] == []


def test_empty_study_has_a_record() -> None:
    record = pareto_record(study(), [])
    assert record["baseline"] is record["hypervolume"] is record["knee"] is None
    assert record["front"] == []


def test_study_and_status_records_are_json() -> None:
    members = [*trials((10, 0.9), (20, 0.8)), trial(2, state=State.RUNNING)]
    row = study_record(study(), members)
    status = status_record(study(), members, search=SearchStatus(SearchState.DONE, "converged"))
    assert (row["state"], status["state"], status["reason"]) == (None, "done", "converged")
    assert row["trials"]["complete"] == 2 and row["trials"]["running"] == 1
    assert row["budget"]["trials"] == {"used": 3, "limit": None}
    assert [entry["number"] for entry in status["running"]] == [2]
    best = status["best"][0]
    assert (best["metric"], best["trial"]) == (SPEED, 1)
    assert best["value"] == pytest.approx(20.0, rel=0.1)
    assert best["ci95"][0] < best["value"] < best["ci95"][1]
    assert json.loads(json.dumps(status)) == status


def test_keys_of_the_full_trial_record() -> None:
    predicted = {"predicted": {SPEED: 12.0, "intervals": {SPEED: [10.0, 14.0]}}}
    base = trial(1, {SPEED: 10.0})
    result = TrialResult(
        base.result.measurements,
        curve=(CurvePoint(5, 10, 40, 1.0, loss=0.7, metrics={ACCURACY: 0.5}),),
        events=(Event(START, "fallback", "sdpa is not supported"),),
        environment=predicted,
    )
    record = full_trial_record(replace(base, result=result))
    assert list(record) == [
        "number", "state", "strategy", "sources", "metrics", "reason", "kind", "origin", "seed",
        "started_at", "finished_at", "confirming", "confirms", "samples", "curve", "memory_gib",
        "events", "predicted", "why_no_interval", "environment", "artifacts", "log",
    ]  # fmt: skip
    assert record["curve"] == [
        {"step": 5, "total_steps": 10, "samples": 40, "seconds": 1.0, "loss": 0.7,
         "metrics": {ACCURACY: 0.5}}
    ]  # fmt: skip
    assert record["events"] == [
        {"at": "2026-03-01T12:00:00+00:00", "kind": "fallback", "message": "sdpa is not supported"}
    ]
    assert record["predicted"] == [
        {"metric": SPEED, "predicted": 12.0, "measured": 10.0, "interval": (10.0, 14.0)}
    ]
