"""When a search ends because it gets no better. Pure functions of a study and its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotune.analysis.hypervolume import hypervolume
from autotune.analysis.recommendation import Recommender
from autotune.analysis.replicates import Replicates
from autotune.analysis.summary import Best, best_trials
from autotune.domain import Study, Trial
from autotune.tuner.finalists import recommended_trial

ROUNDING_TOLERANCE = 1e-9
"""Gains of hypervolume (in units of the default) up to this are rounding errors."""

GOAL_PATIENCE = 8
"""A search for one answer ends after this many trials that are no better than the noise."""

MIN_NOISE, MAX_NOISE = 0.01, 0.1
"""Limits of the relative noise: smaller differences never matter, larger ones always do."""


def should_end_search(study: Study, history: Sequence[Trial]) -> str | None:
    """The reason to end the search if the last trials were no gain, else ``None``.

    With a patience these are trials that did not increase the hypervolume. A search for one answer
    ends after :data:`GOAL_PATIENCE` trials that did not improve it by more than the noise, but not
    before a strategy other than the default can be recommended.

    Trials are ordered by the time when they ended. Runs with another seed and trials that do not
    count against the budget are not among them, but their gains count. Before the default has ended
    there are no gains.
    """
    return _no_hypervolume_gain(study, history) or _no_gain_of_goal(study, history)


def _no_hypervolume_gain(study: Study, history: Sequence[Trial]) -> str | None:
    patience = study.budget.patience
    before = None if patience is None else _trials_before_last(history, patience)
    if before is None:
        return None
    gain = (hypervolume(study, history) or 0.0) - (hypervolume(study, before) or 0.0)
    if gain > ROUNDING_TOLERANCE:
        return None
    return f"no gain of hypervolume in the last {patience} trials"


def _no_gain_of_goal(study: Study, history: Sequence[Trial]) -> str | None:
    before = _trials_before_last(history, GOAL_PATIENCE) if study.has_goal else None
    if before is None:
        return None
    former, latter = best_trials(study, before), best_trials(study, history)
    if not former or not latter:
        return None
    noise = relative_noise(history, latter[0])
    if _relative_gain(former[0], latter[0]) > noise:
        return None
    if recommended_trial(Recommender(study, history)) is None:
        return None
    return f"no gain beyond the noise ({noise:.1%}) in the last {GOAL_PATIENCE} trials"


def _relative_gain(former: Best, latter: Best) -> float:
    """By which share of ``former`` the value of ``latter`` is better."""
    difference = latter.objective.sign * (latter.value - former.value)
    return difference / abs(former.value) if former.value else math.inf * (difference > 0)


def relative_noise(history: Sequence[Trial], best: Best) -> float:
    """Half the 95% interval of the difference of two runs like that of ``best``, as a share of its
    value, within :data:`MIN_NOISE` and :data:`MAX_NOISE`."""
    estimate = Replicates(history).estimate(best.trial, best.objective.metric)
    if estimate is None or estimate.ci95 is None or not estimate.value:
        return MIN_NOISE
    half = (estimate.ci95[1] - estimate.ci95[0]) / 2
    return min(max(math.sqrt(2) * half / abs(estimate.value), MIN_NOISE), MAX_NOISE)


def _trials_before_last(history: Sequence[Trial], count: int) -> Sequence[Trial] | None:
    """The trials that ended before the last ``count`` counted ones; ``None`` if there are fewer."""
    ended = sorted(
        (t for t in history if t.state.is_finished), key=lambda t: (_ended_at(t), t.number)
    )
    indices = [
        index for index, t in enumerate(ended) if t.counts_against_budget and not t.has_another_seed
    ]
    return ended[: indices[-count]] if len(indices) >= count else None


def _ended_at(trial: Trial) -> float:
    return trial.finished_at.timestamp() if trial.finished_at is not None else 0.0
