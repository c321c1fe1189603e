"""Whether a search has stopped getting anywhere: a pure function of the study and its trials."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.analysis.hypervolume import hypervolume
from autotune.domain import Study, Trial

NEGLIGIBLE = 1e-9
"""A gain of hypervolume (in units of the default) that rounding may make."""


def should_end_search(study: Study, history: Sequence[Trial]) -> str | None:
    """Why the search ends: the last so many trials added nothing to the hypervolume; else ``None``.

    Trials are taken in the order in which they ended. Those that cost nothing or confirm others do
    not count, but what they add does. Before the default has ended nothing is a gain.
    """
    asked = study.budget.patience
    if asked is None:
        return None
    ended = sorted((t for t in history if t.state.finished), key=lambda t: (_ended_at(t), t.number))
    tried = [
        place for place, t in enumerate(ended) if t.counts_against_budget and not t.is_confirmation
    ]
    if len(tried) < asked:
        return None
    before = hypervolume(study, ended[: tried[-asked]]) or 0.0
    if (hypervolume(study, history) or 0.0) - before > NEGLIGIBLE:
        return None
    return f"no gain of hypervolume in the last {asked} trials"


def _ended_at(trial: Trial) -> float:
    return trial.finished_at.timestamp() if trial.finished_at is not None else 0.0
