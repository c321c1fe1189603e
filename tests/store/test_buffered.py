"""Journals of results: what a driver of an older version has left is stored under today's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autotune.domain import (
    CONCURRENT_TRIALS,
    CurvePoint,
    Failed,
    FailureReason,
    Measurement,
    State,
    TrialOrigin,
    digest,
)
from autotune.store import BufferedStore, open_driver_store, open_store
from autotune.store.buffered import Journal
from tests.store.samples import strategy, study

EVIDENCE: dict[str, Any] = {
    "measurements": {
        "accuracy": {
            "name": "accuracy",
            "value": 0.5,
            "unit": "",
            "n": 50,
            "ci95": [0.4, 0.6],
            "samples": [0.5],
            "warmup": [],
            "source": None,
        }
    },
    "curve": [
        {
            "step": 5,
            "total_steps": 10,
            "samples": 40,
            "seconds": 0.5,
            "loss": 1.5,
            "metrics": {"accuracy": 0.5},
        }
    ],
    "memory": [[0.0, 0.25]],
    "events": [],
    "environment": {"host": "example", "other_trials_on_host": 1},
    "artifacts": {},
    "log": "log.txt",
}
"""The result of a trial in a journal of a version with database schema 0002."""


def test_journal_of_an_older_version_is_recovered(postgres_url: str, tmp_path: Path) -> None:
    store = open_store(postgres_url)
    store.create_study(study("bert"), {})
    store.start("bert", strategy(), origin=TrialOrigin.SAMPLED, seed=0)
    fields = {"kind": "error", "reason": "ValueError: x", "evidence": EVIDENCE}
    line = {"study": "bert", "number": 0, "outcome": "Failed", "fields": fields}
    path = tmp_path / f"{digest(str(store))}-{digest('driver')}.jsonl"
    path.write_text(json.dumps(line) + "\n")
    driver = open_driver_store(postgres_url, tmp_path)
    assert isinstance(driver, BufferedStore)
    trial = driver.trial("bert", 0)
    assert (trial.state, trial.failure) == (State.FAILED, FailureReason.ERROR)
    assert trial.result.measurements["accuracy"] == Measurement(
        "accuracy", 0.5, "", 50, (0.4, 0.6), (0.5,)
    )
    assert trial.result.curve == (CurvePoint(5, 10, 40, 0.5, 1.5, {"accuracy": 0.5}),)
    assert trial.result.environment == {"host": "example", CONCURRENT_TRIALS: 1}
    assert not path.exists()
    driver.close()
    store.close()


def test_a_recovered_result_ends_when_its_trial_did(postgres_url: str, tmp_path: Path) -> None:
    """The trial took 500 seconds, whenever the next driver stores its result."""
    store = open_store(postgres_url)
    store.create_study(study("bert"), {})
    store.start("bert", strategy(), origin=TrialOrigin.SAMPLED, seed=0)
    journal = Journal(tmp_path, str(store), "driver")
    journal.append(("bert", 0, Failed(FailureReason.ERROR, "ValueError: x"), 500.0))
    journal.release()
    driver = open_driver_store(postgres_url, tmp_path)
    trial = driver.trial("bert", 0)
    assert trial.state is State.FAILED
    assert trial.started_at is not None and trial.finished_at is not None
    assert (trial.finished_at - trial.started_at).total_seconds() == 500
    driver.close()
    store.close()
