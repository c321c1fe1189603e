"""Ends a search in which the last trials did not improve the front."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.analysis.hypervolume import hypervolume
from autotune.domain import Study, Trial

ROUNDING_TOLERANCE = 1e-9
"""Gains of hypervolume (in units of the default) up to this are rounding errors."""


def should_end_search(study: Study, history: Sequence[Trial]) -> str | None:
    """The reason to end the search if the last ``patience`` trials did not increase the
    hypervolume, else ``None``. A pure function of the study and its trials.

    Trials are ordered by the time when they ended. Confirmations and trials that do not count
    against the budget are not among the ``patience`` trials, but their gains count. Before the
    default has ended there are no gains.
    """
    patience = study.budget.patience
    if patience is None:
        return None
    ended = sorted(
        (t for t in history if t.state.is_finished), key=lambda t: (_ended_at(t), t.number)
    )
    indices = [
        index for index, t in enumerate(ended) if t.counts_against_budget and not t.is_confirmation
    ]
    if len(indices) < patience:
        return None
    before = hypervolume(study, ended[: indices[-patience]]) or 0.0
    if (hypervolume(study, history) or 0.0) - before > ROUNDING_TOLERANCE:
        return None
    return f"no gain of hypervolume in the last {patience} trials"


def _ended_at(trial: Trial) -> float:
    return trial.finished_at.timestamp() if trial.finished_at is not None else 0.0
