"""All that is known of one trial, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autotune.analysis.course import foretold
from autotune.analysis.records import trial_record
from autotune.analysis.repeats import Repeats, confirms
from autotune.domain import Trial


def full_trial_record(trial: Trial, trials: Sequence[Trial] = ()) -> dict[str, Any]:
    """``autotune show --json``: the trial's line with raw samples, curve, memory and events, and
    which of ``trials`` confirm it, or which one it confirms."""
    evidence = trial.evidence
    confirmed = confirms(trial, trials)
    return {
        **trial_record(trial),
        "confirming": [run.number for run in Repeats(trials).of(trial)],
        "confirms": None if confirmed is None else confirmed.number,
        "seed": trial.seed,
        "origin": trial.origin,
        "kind": trial.kind,
        "samples": {
            name: {"samples": list(m.samples), "warmup": list(m.warmup)}
            for name, m in evidence.measurements.items()
        },
        "curve": [asdict(point) for point in evidence.curve],
        "memory_gib": [list(point) for point in evidence.memory],
        "events": [
            {"at": event.at.isoformat(), "kind": event.kind, "message": event.message}
            for event in evidence.events
        ],
        "predicted": [asdict(number) for number in foretold(trial)],
        "environment": dict(evidence.environment),
        "artifacts": dict(evidence.artifacts),
        "log": evidence.log,
    }
