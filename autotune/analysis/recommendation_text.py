"""Recommendations as sentences. The command line, reports, the dashboard and exports use these, so
that a strategy is described in the same words everywhere:

    3.1x faster than the default (2.4x to 3.9x), no clear difference in accuracy (-0.9 to +5.1
    points), 68% cheaper (57% to 76%); on validation, not confirmed
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotune.analysis.comparison_text import describe_comparison, describe_factor
from autotune.analysis.drift import drift_exponent, has_drifted, log_drift
from autotune.analysis.metric_posterior import Belief
from autotune.analysis.paired_text import describe_difference
from autotune.analysis.recommendation import (
    Closest,
    Recommendation,
    Recommender,
    Status,
    more_seeds,
)
from autotune.analysis.refutation import MIN_PROBABILITY
from autotune.analysis.replicates import is_score
from autotune.analysis.summary import BelievedBest
from autotune.analysis.text import (
    describe_baseline,
    format_interval,
    format_metric,
    metric_label,
)
from autotune.analysis.verdict import learning_failure
from autotune.domain import Phase, State, Study, Trial
from autotune.domain.metrics import get_metric


def describe_empty_front(study: Study, trials: Sequence[Trial]) -> str:
    """Why there is no trial on the front of a study, if there is none."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    for objective in study.objectives:
        if complete and all(trial.metric(objective.metric) is None for trial in complete):
            return f"no trial could measure {get_metric(objective.metric).label}"
    return "no trial has met every constraint yet" if complete else "no trial has completed yet"


def recommendation_sentence(
    recommender: Recommender, recommendation: Recommendation | None
) -> str | None:
    """``Knee: trial 24, 3.1x faster than the default (2.4x to 3.9x), ...; on validation, not
    confirmed.``, or why the default is recommended. Without a recommendation, which strategy comes
    closest to the constraints; ``None`` if there is none either."""
    if recommendation is None:
        closest = recommender.closest
        return None if closest is None else closest_sentence(recommender, closest)
    trial, goal = recommendation.trial, recommendation.goal
    name = "Answer" if recommender.study.has_goal and goal == "knee" else goal.capitalize()
    sentence = f"{name}: trial {trial.number}, {describe_trial(recommender, trial)}."
    if recommendation.closest is None:
        return sentence
    default = recommender.posterior.default
    if default is not None and trial.strategy.key == default.strategy.key:
        sentence = f"{name}: {recommender.study.baseline_name}."
    return f"{sentence} {closest_sentence(recommender, recommendation.closest)}"


def describe_trial(recommender: Recommender, trial: Trial) -> str:
    """The strategy of ``trial`` against the default, and how sure that is."""
    comparison = compare_objectives(recommender, trial)
    if comparison == describe_baseline(recommender.study):
        return comparison
    return "; ".join([comparison, status_phrase(recommender, trial), *_notes(recommender, trial)])


def compare_objectives(
    recommender: Recommender, trial: Trial, metrics: Sequence[str] | None = None
) -> str:
    """The objectives, or ``metrics``, against the default, each with its 95% interval. Without a
    default what is believed of the values."""
    posterior = recommender.posterior
    default = posterior.default
    if default is not None and trial.strategy.key == default.strategy.key:
        return describe_baseline(recommender.study)
    if metrics is None:
        metrics = recommender.study.reported_metrics
    comparisons = [c for name in metrics if (c := posterior.compare(trial, name)) is not None]
    if not comparisons:
        beliefs = [b for name in metrics if (b := posterior.belief(trial, name)) is not None]
        figures = [f"{metric_label(b.metric)} {describe_belief(b)}" for b in beliefs]
        return ", ".join(figures) or "nothing measured"
    head = describe_comparison(comparisons[0], recommender.study.baseline_name)
    return ", ".join([head, *map(describe_comparison, comparisons[1:])])


def status_phrase(recommender: Recommender, trial: Trial) -> str:
    """``confirmed on the test split: ...`` with the paired difference of the scores, ``refuted`` or
    ``undecided on the test split: ...``, or ``on validation, not confirmed``."""
    status = recommender.status(trial)
    if status is Status.UNCONFIRMED:
        return "on validation, not confirmed"
    details = ", ".join(test_phrases(recommender, trial))
    return f"{status.value} on the test split{f': {details}' if details else ''}"


def test_phrases(recommender: Recommender, trial: Trial) -> list[str]:
    """The scores of the confirmation runs against those of the default, else their values."""
    default, pairs = recommender.posterior.default, recommender.pairs
    scores = [name for name in recommender.study.reported_metrics if is_score(name)]
    phrases = []
    for metric in scores:
        difference = pairs.score_difference(trial, default, metric) if default else None
        if difference is not None:
            phrases.append(describe_difference(difference))
        elif (estimate := recommender.replicates.test_estimate(trial, metric)) is not None:
            value = format_metric(metric, estimate.value)
            phrases.append(f"{metric_label(metric)} {value}, default not confirmed")
    return phrases


def describe_best(best: BelievedBest) -> str:
    """``64.5 samples/s (58.9 to 70.7), 3.1x (2.4x to 3.9x), not confirmed``: what is believed, that
    against the default, and whether the strategy is confirmed."""
    value = describe_belief(best.belief)
    if best.comparison is None:
        return value
    return f"{value}, {describe_factor(best.comparison)}, {best.status.value}"


def describe_belief(belief: Belief) -> str:
    """``64.5 samples/s (58.9 to 70.7)``."""
    value, interval = format_metric(belief.metric, belief.value), belief.ci95
    return f"{value} ({format_interval(belief.metric, interval)})"


def sharing_note(recommender: Recommender, trial: Trial) -> str | None:
    """``figures of trial 2, never run as a whole``; ``None`` if all figures are its own."""
    sources = recommender.sources(trial)
    if not sources:
        return None
    note = f"figures of trial {' and '.join(map(str, sources))}"
    return f"{note}, never run as a whole" if recommender.is_composed(trial) else note


def _notes(recommender: Recommender, trial: Trial) -> list[str]:
    """What a reader has to know about the figures."""
    notes = []
    if (failure := learning_failure(trial)) is not None:
        notes.append(f"the model learned nothing: {failure}")
    if recommender.study.has_auto_samples:
        samples = recommender.study.task.train_samples or 0
        notes.append(f"trained on {samples:,} samples, which were chosen for the budget")
    if recommender.is_composed(trial):
        numbers = " and ".join(map(str, recommender.sources(trial)))
        notes.append(f"never run as a whole: figures of trial {numbers} are used")
    default = recommender.posterior.default
    names = recommender.study.reported_metrics
    is_timed = any(drift_exponent(name) or get_metric(name).phase is Phase.RUN for name in names)
    if is_timed and has_drifted(trial, default):
        ratio = math.exp(log_drift(trial, default) or 0.0)
        word, factor = ("slower", ratio) if ratio > 1 else ("faster", 1 / ratio)
        name = recommender.study.baseline_name
        notes.append(
            "speeds relative to the reference workload, as the machine was "
            f"{100 * (factor - 1):.0f}% {word} in the trial than for {name}"
        )
    return notes


def explain_recommendation(
    recommender: Recommender, trial: Trial, goals: Sequence[str], dominator: Trial | None
) -> str:
    """Why ``trial`` is recommended for ``goals`` although its own run is dominated by that of
    ``dominator``, or outside a constraint if there is none: ``recommended (knee), as confirmation
    refuted trial 7``."""
    head = f"recommended ({', '.join(goals)}), as"
    if dominator is None:
        probability = recommender.probability(trial)
        return f"{head} it satisfies every constraint with a probability of {probability:.2f}"
    if recommender.status(dominator) is Status.REFUTED:
        return f"{head} confirmation refuted trial {dominator.number}"
    probability = recommender.probability(dominator)
    if probability < MIN_PROBABILITY:
        constraint = recommender.least_certain_constraint(dominator)
        return (
            f"{head} trial {dominator.number} satisfies {constraint} with a probability of "
            f"{probability:.2f}"
        )
    return f"{head} trial {dominator.number} is not better by all runs of like strategies"


def closest_sentence(recommender: Recommender, closest: Closest) -> str:
    """Why only the default is recommended, and what would help."""
    trial = closest.trial
    return (
        f"No strategy that trains differently satisfies {closest.constraint} with a probability of "
        f"{MIN_PROBABILITY}. Closest is trial {trial.number} with {closest.probability:.2f}: "
        f"{describe_trial(recommender, trial)}. To be surer, {more_seeds(recommender.study)} or "
        "raise the budget of the study, and search on."
    )
