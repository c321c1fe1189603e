"""The verdict on a trial: its place among the results of its study, or why it is none of them.

A model that learned nothing says so in its scores: it predicts one class for all samples, and has a
Matthews correlation (MCC) of exactly 0, or it finds no entity or answer, or its numbers do not
correlate with the labels. Its accuracy is then the share of that class, usually the majority, and
can look respectable.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from autotune.analysis.front import ObjectiveValues, Violation, value_of
from autotune.domain import Measurement, State, Trial, TrialOrigin
from autotune.domain.metrics import get_metric


class Verdict(StrEnum):
    """The status of a trial with respect to the front."""

    FRONT = "on the front"
    DOMINATED = "dominated"
    VIOLATING = "outside a constraint"
    UNMEASURED = "objective not measured"
    REPLICATE = "replicate"
    CONFIRMATION = "confirmation run"
    SUPERSEDED = "replaced by an isolated re-run"
    TRANSFERRED = "from another host"
    UNFINISHED = "no result"


RELATIONS = {
    Verdict.DOMINATED: "dominated by",
    Verdict.REPLICATE: "replicate of",
    Verdict.CONFIRMATION: "confirms",
    Verdict.SUPERSEDED: "replaced by",
}
"""The relation of a trial to the other one on which its verdict depends."""

CONSTANT_PREDICTIONS = {"mcc": "majority class", "pearson": "constant predictions"}
"""The correlations of predictions and labels, and what a correlation of exactly 0 means."""


def describe_verdict(
    trial: Trial,
    verdict: Verdict,
    *,
    violations: Sequence[Violation] = (),
    other: int | None = None,
    source: str | None = None,
    recommendation: str | None = None,
) -> str:
    """The verdict in words: ``dominated by trial 7``, ``outside accuracy >= baseline - 0.01,
    majority class (MCC 0)``, ``confirms trial 3``, ``on the front, from study sst2``.

    ``other`` is the number of the trial that dominates ``trial``, replaces it, or is repeated or
    confirmed by it; ``source`` the name of the study of imported trials; ``recommendation`` why it
    is recommended all the same.
    """
    parts = [_place(trial, verdict, violations, other)]
    if recommendation is not None:
        parts[0] += f" as measured; {recommendation}"
    if trial.is_imported and source is not None:
        parts.append(f"from study {source}")
    if trial.state is State.COMPLETE and (note := learning_failure(trial)) is not None:
        parts.append(note)
    return ", ".join(parts)


def _place(
    trial: Trial, verdict: Verdict, violations: Sequence[Violation], other: int | None
) -> str:
    if verdict is Verdict.UNFINISHED:
        state = "stopped early" if trial.state is State.PRUNED else trial.state.value
        kind = "" if trial.failure is None else f" ({trial.failure.value.replace('_', ' ')})"
        return state + kind
    if verdict is Verdict.VIOLATING:
        return "outside " + " and ".join(str(v.constraint) for v in violations)
    relation = RELATIONS.get(verdict)
    if relation is None or other is None:
        return verdict.value
    return f"{relation} trial {other}"


def learning_failure(trial: Trial) -> str | None:
    """That the model of ``trial`` learned nothing, in words; ``None`` if it did, or if its scores
    do not tell."""
    measurements = trial.result.measurements
    name = next((name for name in CONSTANT_PREDICTIONS if name in measurements), None)
    if name is None:
        return _without_hits(trial) if 0 in _shares_of_hits(trial) else None
    score, label = measurements[name], get_metric(name).label
    if score.value == 0:
        return f"{CONSTANT_PREDICTIONS[name]} ({label} 0)"
    return f"no better than chance ({label} {score.value:.3f})" if _can_be_zero(score) else None


def _shares_of_hits(trial: Trial) -> set[float | None]:
    """The scores that are 0 without hits. Of questions, only those that have an answer tell: that
    there is none is right for the others."""
    return {value_of(trial, name) for name in ("f1", "has_answer_f1")}


def _without_hits(trial: Trial) -> str:
    """What an F1 of 0 means: other metrics tell the kind of task."""
    measurements = trial.result.measurements
    if "exact_match" in measurements:
        return "no answer has a correct word"
    return "no correct label" if "f1_micro" in measurements else "no entity"


def _can_be_zero(measurement: Measurement) -> bool:
    """Whether the 95% interval contains 0."""
    interval = measurement.ci95
    return interval is not None and interval[0] <= 0 <= interval[1]


def dominating_rows(points: ObjectiveValues, front: Sequence[int]) -> list[int | None]:
    """For each row of ``points`` the first of the rows ``front`` that dominates it, if any."""
    first = np.full(len(points), -1)
    for row in reversed(front):
        is_dominated = (points[row] >= points).all(axis=1) & (points[row] > points).any(axis=1)
        first[is_dominated] = row
    return [None if row < 0 else row for row in first.tolist()]


def replacements(trials: Sequence[Trial]) -> dict[str, int]:
    """The number of the last complete isolated re-run of each strategy, by its key."""
    return {
        trial.strategy.key: trial.number
        for trial in trials
        if trial.origin is TrialOrigin.ISOLATED_RERUN and trial.state is State.COMPLETE
    }
