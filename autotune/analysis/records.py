"""The JSON documents of the commands with ``--json``. Their keys are a public interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from autotune.analysis.attribution import path_record
from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.intervals import figure_interval
from autotune.analysis.probability import FrontPoint
from autotune.analysis.recommendation import Recommendation
from autotune.analysis.replicates import Estimate, Replicates, confirmed_trial
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import believed_bests, budget_use, count_by_state
from autotune.analysis.timeline import prediction_checks
from autotune.domain import SearchStatus, State, Study, Trial

Record = dict[str, Any]

NO_REPEATED_RUN = "no strategy was run twice, so the variation between runs is unknown"
PARETO_REASONS: Mapping[str, str] = {
    "hypervolume": "of all measured values together; says how far the search is, of no strategy"
}
"""Why figures of ``pareto --json`` have no interval, by key."""
TRIAL_REASONS: Mapping[str, str] = {
    "samples": "raw samples, from which the intervals of metrics follow",
    "curve": "the course of one run: losses of batches, and scores whose errors are not recorded",
    "memory_gib": "raw readings over time",
    "predicted": "forecasts from before the trial, with a 90% interval where there is one",
    "environment": "what was recorded of the machine and the run, not results",
}
"""The same of ``show --json``."""


def measurement_record(trial: Trial, name: str) -> Record:
    """``{value, unit, n, ci95}``; ``ci95`` is ``[low, high]``, or ``null`` with the reason in
    ``why_no_interval``. ``source`` is the number of the trial from which the value was reused."""
    measurement, interval = trial.result.measurements[name], figure_interval(trial, name)
    record: Record = {"value": measurement.value, "unit": measurement.unit, "n": measurement.n}
    record |= _interval_record(interval.ci95, interval.reason)
    return record if measurement.source is None else {**record, "source": measurement.source}


def trial_sources(trial: Trial) -> set[int]:
    """The numbers of the other trials whose figures ``trial`` reuses."""
    sources = {m.source for m in trial.result.measurements.values() if m.source is not None}
    return sources - {trial.number}


def _interval_record(ci95: tuple[float, float] | None, reason: str | None) -> Record:
    if ci95 is not None:
        return {"ci95": list(ci95)}
    return {"ci95": None, "why_no_interval": reason or NO_REPEATED_RUN}


def trial_record(trial: Trial) -> Record:
    """One trial, as ``autotune trials --json`` lists it. Times are ISO 8601. ``sources`` are the
    numbers of the trials whose figures it reuses."""
    return {
        "number": trial.number,
        "state": trial.state.value,
        "strategy": dict(trial.strategy.values),
        "sources": sorted(trial_sources(trial)),
        "metrics": {
            name: measurement_record(trial, name) for name in sorted(trial.result.measurements)
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
    """The front and the knee, as ``autotune pareto --json`` prints them. ``knee`` is the number of
    a trial; another one can dominate it by its measured values."""
    snapshot = Snapshot(study, trials)
    default, knee_trial = snapshot.baseline, snapshot.knee
    points = snapshot.front_points.values()
    return {
        "study": study.name,
        "objectives": objective_records(study),
        "baseline": None if default is None else trial_record(default),
        "front": [point_record(snapshot, point) for point in points],
        "hypervolume": hypervolume(study, trials),
        "knee": None if knee_trial is None else knee_trial.number,
        "recommendations": {
            goal: _recommendation_record(snapshot, recommendation)
            for goal, recommendation in snapshot.recommendations.items()
        },
        "why_no_interval": dict(PARETO_REASONS),
    }


def point_record(snapshot: Snapshot, point: FrontPoint) -> Record:
    """A trial of the front with the estimates from all runs of its strategy.

    ``estimates`` are means over ``runs`` runs with their 95% intervals; scores are those on
    validation. ``test`` are the scores of the confirmation runs on the test split.
    """
    is_alone = len(snapshot.recommender.candidates) == 1
    return {
        **trial_record(point.trial),
        "verdict": snapshot.verdict_texts[point.trial.number],
        "probability": point.probability,
        **({"probability_note": "no other strategy has a result"} if is_alone else {}),
        "confirmed": point.is_confirmed,
        "confirming": [trial.number for trial in point.confirmations],
        "estimates": {name: _estimate_record(e) for name, e in point.estimates.items()},
        "test": {name: _estimate_record(e) for name, e in point.test_estimates.items()},
        **posterior_record(snapshot, point.trial),
    }


def posterior_record(snapshot: Snapshot, trial: Trial) -> Record:
    """What is believed of the strategy of a trial.

    ``posterior`` has the mean of each reported metric after shrinkage with its 95% interval and the
    numbers of the trials that measured it, ``against_default`` the difference to the default
    (``is_ratio``: as a multiple of it). ``status`` is ``confirmed``, ``refuted``,
    ``undecided`` or ``not confirmed``; ``constraint_probability`` is that of the least certain
    constraint. ``run_whole`` is false for what is put together from the phases of several trials.
    ``paired`` compares the confirmation runs with those of the default.
    """
    posterior, recommender = snapshot.posterior, snapshot.recommender
    names = snapshot.study.reported_metrics
    beliefs = {name: b for name in names if (b := posterior.belief(trial, name)) is not None}
    comparisons = {name: c for name in names if (c := posterior.compare(trial, name)) is not None}
    return {
        "posterior": {
            name: {"value": b.value, "ci95": list(b.ci95), "sources": list(b.sources)}
            for name, b in beliefs.items()
        },
        "against_default": {
            name: {"value": c.value, "ci95": list(c.ci95), "is_ratio": c.is_ratio}
            for name, c in comparisons.items()
        },
        "status": recommender.status(trial).value,
        "constraint_probability": recommender.probability(trial),
        "run_whole": not recommender.is_composed(trial),
        "paired": paired_record(snapshot, trial),
    }


def paired_record(snapshot: Snapshot, trial: Trial) -> Record:
    """The reported metrics in the confirmation runs of a trial against those of the default with
    the same seeds: scores by their difference on the test split, with the score of the default,
    other metrics by their ratio. Empty before both are confirmed."""
    default, pairs, record = snapshot.baseline, snapshot.pairs, Record()
    if default is None:
        return record
    for name in snapshot.study.reported_metrics:
        if (difference := pairs.score_difference(trial, default, name)) is not None:
            test = snapshot.replicates.test_estimate(default, name)
            record[name] = {
                "value": difference.value,
                "ci95": list(difference.ci95),
                "examples": difference.examples,
                "seeds": difference.seeds,
                "by_example": difference.is_paired,
                "default": None if test is None else _estimate_record(test),
            }
        elif (ratio := pairs.ratio(trial, default, name)) is not None:
            record[name] = {
                "ratio": ratio.value,
                "ci95": list(ratio.ci95),
                "pairs": ratio.pairs,
                "relative_to_reference": ratio.is_relative,
            }
    return record


def _recommendation_record(snapshot: Snapshot, recommendation: Recommendation) -> Record:
    closest = recommendation.closest
    return {
        "trial": recommendation.trial.number,
        "sentence": snapshot.recommendation_sentence(recommendation.goal),
        "constraint_probability": recommendation.probability,
        "status": recommendation.status.value,
        "sources": list(recommendation.sources),
        "closest": None
        if closest is None
        else {
            "trial": closest.trial.number,
            "constraint": str(closest.constraint),
            "probability": closest.probability,
        },
    }


def _estimate_record(estimate: Estimate) -> Record:
    interval = _interval_record(estimate.ci95, None)
    return {"value": estimate.value, **interval, "runs": estimate.runs}


def objective_records(study: Study) -> list[Record]:
    return [{"metric": o.metric, "direction": o.direction} for o in study.objectives]


def study_record(
    study: Study,
    trials: Sequence[Trial],
    now: datetime | None = None,
    search: SearchStatus | None = None,
) -> Record:
    """One element of ``autotune studies --json``. ``state`` and ``reason`` are those of
    ``search``."""
    started = [trial.started_at for trial in trials if trial.started_at is not None]
    return {
        "study": study.name,
        "model": study.task.model,
        "dataset": study.task.dataset,
        "objectives": objective_records(study),
        "trials": {state.value: n for state, n in count_by_state(trials).items()},
        "started_at": _time(min(started, default=None)),
        "state": None if search is None else search.state.value,
        "reason": None if search is None else search.reason,
        "budget": {
            use.name: {"used": use.used, "limit": use.limit}
            for use in budget_use(study, trials, now)
        },
    }


def status_record(
    study: Study,
    trials: Sequence[Trial],
    now: datetime | None = None,
    search: SearchStatus | None = None,
) -> Record:
    """``autotune status --json``: the study record with the best values that are believed after
    shrinkage and confirmation, and the running trials. ``recommendation`` is the sentence about the
    knee; ``null`` if there is none."""
    running = [trial for trial in trials if trial.state is State.RUNNING]
    snapshot = Snapshot(study, trials)
    return {
        **study_record(study, trials, now, search),
        "constraints": [str(constraint) for constraint in study.constraints],
        "best": [
            {
                "metric": best.objective.metric,
                "value": best.belief.value,
                "ci95": list(best.belief.ci95),
                "trial": best.trial.number,
                "status": best.status.value,
            }
            for best in believed_bests(snapshot.recommender)
        ],
        "recommendation": snapshot.recommendation_sentence("knee"),
        "hypervolume": hypervolume(study, trials),
        "running": [trial_record(trial) for trial in running],
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def show_record(snapshot: Snapshot, trial: Trial) -> Record:
    """``autotune show --json``: all of one trial, and what is believed of its strategy. ``path`` is
    where its gain comes from."""
    return {
        **full_trial_record(trial, snapshot.trials),
        **posterior_record(snapshot, trial),
        "verdict": snapshot.verdict_texts[trial.number],
        "path": path_record(snapshot.attribution(trial)),
    }


def full_trial_record(trial: Trial, trials: Sequence[Trial] = ()) -> dict[str, Any]:
    """The trial record with raw samples, curve, memory and events, and the numbers of its
    confirmation runs among ``trials``, or of the trial that it confirms."""
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
        "why_no_interval": dict(TRIAL_REASONS),
        "environment": dict(result.environment),
        "artifacts": dict(result.artifacts),
        "log": result.log,
    }
