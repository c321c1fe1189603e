"""Live studies: loaded once for all visitors, then updated with the trials that changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from autotune.analysis.budget import BudgetUsage
from autotune.analysis.recommendation import Recommender
from autotune.analysis.recommendation_text import describe_best
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import BudgetUse, believed_bests, budget_use
from autotune.domain import CurvePoint, SearchStatus, State, Study, Trial
from autotune.errors import DamagedStudyError
from autotune.store import SqlStore, StudyOverview, open_store

from .settings import current
from .text import test_score

MAX_STUDIES = 6
"""Studies kept in memory."""


class LiveStudy:
    """One study as last read from the store. Safe to share between threads."""

    def __init__(self, store: SqlStore, name: str) -> None:
        self._store, self._name = store, name
        self._mutex = threading.Lock()
        self._cursor = 0
        self._trials: dict[int, Trial] = {}
        self._created_at = store.created_at(name)
        self._snapshot = Snapshot(store.study(name), [])
        self.revision = 0

    def refresh(self) -> Snapshot:
        """Read the changes and return the study as it is now."""
        with self._mutex:
            if (created_at := self._store.created_at(self._name)) != self._created_at:
                self._created_at, self._cursor, self._trials = created_at, 0, {}
            changed, self._cursor = self._store.trials_since(self._name, self._cursor)
            study = self._store.study(self._name)
            if changed or study != self._snapshot.study:
                self._trials.update((trial.number, trial) for trial in changed)
                ordered = [self._trials[number] for number in sorted(self._trials)]
                self._snapshot = Snapshot(study, ordered)
                self.revision += 1
            return self._snapshot

    def trial(self, number: int) -> Trial:
        """One trial with all that is stored of it."""
        return self._store.trial(self._name, number)

    def search_status(self) -> SearchStatus | None:
        """Whether the search runs, or how it ended; ``None`` if that is not known."""
        return self._store.search_status(self._name)

    def progress(self) -> Mapping[int, CurvePoint]:
        """The last point of each running trial."""
        return self._store.progress(self._name)

    def curves(self) -> Mapping[int, Sequence[CurvePoint]]:
        return self._store.curves(self._name)


@dataclass(frozen=True)
class StudyRow:
    """A row of the list of studies, made from ``version`` of the study: its time of creation and
    its revision."""

    version: tuple[datetime, int]
    bests: str
    budget: str
    share: float | None
    """The used share (0..1) of the budget that is closest to its limit; ``None`` without limits."""


@st.cache_resource(show_spinner=False)
def _store(url: str) -> SqlStore:
    return open_store(url, read_only=True)


def store() -> SqlStore:
    """The store of this server, opened read-only."""
    settings = current()
    assert settings is not None
    return _store(settings.storage)


@st.cache_resource(show_spinner="Loading the study", max_entries=MAX_STUDIES)
def _live_study(url: str, name: str) -> LiveStudy:
    return LiveStudy(_store(url), name)


def live_study(name: str) -> LiveStudy:
    """The study ``name``. Raises :class:`~autotune.errors.NotFoundError` if there is none."""
    settings = current()
    assert settings is not None
    return _live_study(settings.storage, name)


@st.cache_resource(show_spinner=False)
def _study_rows(url: str) -> dict[str, StudyRow]:
    return {}


def study_rows() -> dict[str, StudyRow]:
    """The cached rows of the list of studies, by study."""
    settings = current()
    assert settings is not None
    return _study_rows(settings.storage)


def study_row(
    rows: dict[str, StudyRow], overview: StudyOverview, *, compute: bool = True
) -> StudyRow | None:
    """The row of a study: from the cached ``rows`` if the study has not changed, else computed.
    Without ``compute``, the outdated row or ``None``."""
    name, version = overview.study.name, (overview.created_at, overview.revision)
    cached = rows.get(name)
    if cached is not None and cached.version == version:
        return cached
    if not compute:
        return cached
    try:
        trials = store().trials(name)
    except DamagedStudyError as error:
        rows[name] = StudyRow(version, error.message, "", None)
        return rows[name]
    uses = [use for use in budget_use(overview.study, trials) if use.limit]
    share = used_share(overview.study, trials)
    rows[name] = StudyRow(version, _bests(overview.study, trials), _budget(uses), share)
    return rows[name]


def used_share(study: Study, trials: Sequence[Trial]) -> float | None:
    """The used share (0..1) of the budget that is closest to its limit; ``None`` without limits. It
    is 1 if no further trial fits, which the search calls a used budget too."""
    if BudgetUsage(trials, None).exhausted(study.budget) is not None:
        return 1.0
    uses = [use for use in budget_use(study, trials) if use.limit]
    return max((min(use.share or 0.0, 1.0) for use in uses), default=None)


def _bests(study: Study, trials: Sequence[Trial]) -> str:
    """What is believed of the best strategies, with their scores on the test split."""
    recommender, parts = Recommender(study, trials), []
    for best in believed_bests(recommender):
        score = test_score(recommender.replicates, best.trial, best.objective.metric)
        parts.append(describe_best(best) + (f", on test {score}" if score else ""))
    return " · ".join(parts)


def _budget(uses: Sequence[BudgetUse]) -> str:
    """The remaining budget."""
    remaining = [_amount(use.name, max((use.limit or 0.0) - use.used, 0.0)) for use in uses]
    return ", ".join(remaining) or "unlimited"


def _amount(name: str, amount: float) -> str:
    return f"${amount:.2g}" if name == "usd" else f"{amount:.3g} {name}"


def is_live(state_counts: Mapping[State, int]) -> bool:
    """Whether a trial is running or queued."""
    return bool(state_counts.get(State.RUNNING) or state_counts.get(State.QUEUED))


def format_age(time: datetime | None, now: datetime) -> str:
    """How long ago ``time`` was: ``5 min ago``."""
    if time is None:
        return "not yet"
    minutes = (now - time).total_seconds() / 60
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes:.0f} min ago"
    return f"{minutes / 60:.0f} h ago" if minutes < 60 * 48 else f"{minutes / 1440:.0f} days ago"
