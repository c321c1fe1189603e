"""The JSON documents of the commands with ``--json``. Their keys are a public interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.probability import FrontPoint
from autotune.analysis.replicates import Estimate, Replicates, confirmed_trial
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import best_trials, budget_use, count_by_state
from autotune.analysis.timeline import prediction_checks
from autotune.domain import Measurement, State, Study, Trial

Record = dict[str, Any]


def measurement_record(measurement: Measurement) -> Record:
    """``{value, unit, n, ci95}``; ``ci95`` is ``[low, high]`` or ``null``, with ``source`` (a trial
    number) if the value was reused from another trial."""
    record: Record = {
        "value": measurement.value,
        "unit": measurement.unit,
        "n": measurement.n,
        "ci95": None if measurement.ci95 is None else list(measurement.ci95),
    }
    return record if measurement.source is None else {**record, "source": measurement.source}


def trial_record(trial: Trial) -> Record:
    """One trial, as ``autotune trials --json`` lists it. Times are ISO 8601."""
    return {
        "number": trial.number,
        "state": trial.state.value,
        "strategy": dict(trial.strategy.values),
        "metrics": {
            name: measurement_record(measurement)
            for name, measurement in sorted(trial.result.measurements.items())
        },
        "reason": trial.reason,
        "kind": trial.failure,
        "origin": trial.origin,
        "seed": trial.seed,
        "started_at": _time(trial.started_at),
        "finished_at": _time(trial.finished_at),
    }


def trial_records(snapshot: Snapshot, trials: Sequence[Trial]) -> list[Record]:
    """``autotune trials --json``: the records of ``trials``, each with the verdict in words."""
    texts = snapshot.verdict_texts
    return [{**trial_record(trial), "verdict": texts[trial.number]} for trial in trials]


def pareto_record(study: Study, trials: Sequence[Trial]) -> Record:
    """The front, as ``autotune pareto --json`` prints it. ``knee`` is a trial number."""
    snapshot = Snapshot(study, trials)
    default, knee_trial = snapshot.baseline, snapshot.knee
    return {
        "study": study.name,
        "objectives": objective_records(study),
        "baseline": None if default is None else trial_record(default),
        "front": [
            {**point_record(point), "verdict": snapshot.verdict_texts[number]}
            for number, point in snapshot.front_points.items()
        ],
        "hypervolume": hypervolume(study, trials),
        "knee": None if knee_trial is None else knee_trial.number,
    }


def point_record(point: FrontPoint) -> Record:
    """A trial of the front with the estimates from all runs of its strategy.

    ``estimates`` are means over ``runs`` runs with their 95% intervals; scores are those on
    validation. ``test`` are the scores of the confirmation runs on the test split.
    """
    return {
        **trial_record(point.trial),
        "probability": point.probability,
        "confirmed": point.is_confirmed,
        "confirming": [trial.number for trial in point.confirmations],
        "estimates": {name: _estimate_record(e) for name, e in point.estimates.items()},
        "test": {name: _estimate_record(e) for name, e in point.test_estimates.items()},
    }


def _estimate_record(estimate: Estimate) -> Record:
    interval = None if estimate.ci95 is None else list(estimate.ci95)
    return {"value": estimate.value, "ci95": interval, "runs": estimate.runs}


def objective_records(study: Study) -> list[Record]:
    return [{"metric": o.metric, "direction": o.direction} for o in study.objectives]


def study_record(study: Study, trials: Sequence[Trial], now: datetime | None = None) -> Record:
    """One element of ``autotune studies --json``."""
    started = [trial.started_at for trial in trials if trial.started_at is not None]
    return {
        "study": study.name,
        "model": study.task.model,
        "dataset": study.task.dataset,
        "objectives": objective_records(study),
        "trials": {state.value: n for state, n in count_by_state(trials).items()},
        "started_at": _time(min(started, default=None)),
        "budget": {
            use.name: {"used": use.used, "limit": use.limit}
            for use in budget_use(study, trials, now)
        },
    }


def status_record(study: Study, trials: Sequence[Trial], now: datetime | None = None) -> Record:
    """``autotune status --json``: the study record with best values and running trials."""
    running = [trial for trial in trials if trial.state is State.RUNNING]
    return {
        **study_record(study, trials, now),
        "constraints": [str(constraint) for constraint in study.constraints],
        "best": [
            {"metric": b.objective.metric, "value": b.value, "trial": b.trial.number}
            for b in best_trials(study, trials)
        ],
        "hypervolume": hypervolume(study, trials),
        "running": [trial_record(trial) for trial in running],
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def full_trial_record(trial: Trial, trials: Sequence[Trial] = ()) -> dict[str, Any]:
    """``autotune show --json``: the trial record with raw samples, curve, memory and events, and
    the numbers of its confirmation runs among ``trials``, or of the trial that it confirms."""
    result = trial.result
    original = confirmed_trial(trial, trials)
    return {
        **trial_record(trial),
        "confirming": [run.number for run in Replicates(trials).confirmations(trial)],
        "confirms": None if original is None else original.number,
        "seed": trial.seed,
        "origin": trial.origin,
        "kind": trial.failure,
        "samples": {
            name: {"samples": list(m.samples), "warmup": list(m.warmup)}
            for name, m in result.measurements.items()
        },
        "curve": [asdict(point) for point in result.curve],
        "memory_gib": [list(point) for point in result.memory],
        "events": [
            {"at": event.time.isoformat(), "kind": event.kind, "message": event.message}
            for event in result.events
        ],
        "predicted": [asdict(check) for check in prediction_checks(trial)],
        "environment": dict(result.environment),
        "artifacts": dict(result.artifacts),
        "log": result.log,
    }
