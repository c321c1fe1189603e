"""Live studies: each is loaded once for all visitors, then only what has changed is fetched."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from autotune.analysis.front import find_baseline
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import BudgetUse, best_trials, budget_use, count_by_state
from autotune.analysis.text import format_metric, format_ratio_to_default
from autotune.domain import CurvePoint, State, Trial
from autotune.store import SqlStore, StudyOverview, open_store

from .settings import current

STUDIES_HELD = 6


class LiveStudy:
    """One study as last fetched. Safe to share between threads."""

    def __init__(self, store: SqlStore, name: str) -> None:
        self._store, self._name = store, name
        self._guard = threading.Lock()
        self._cursor = 0
        self._trials: dict[int, Trial] = {}
        self._snapshot = Snapshot(store.study(name), [])
        self.revision = 0

    def refresh(self) -> Snapshot:
        """Fetch what is new and return the study as it is now."""
        with self._guard:
            changed, self._cursor = self._store.trials_since(self._name, self._cursor)
            study = self._store.study(self._name)
            if changed or study != self._snapshot.study:
                self._trials.update((trial.number, trial) for trial in changed)
                ordered = [self._trials[number] for number in sorted(self._trials)]
                self._snapshot = Snapshot(study, ordered)
                self.revision += 1
            return self._snapshot

    def trial(self, number: int) -> Trial:
        """One trial with everything that is known of it."""
        return self._store.trial(self._name, number)

    def progress(self) -> Mapping[int, CurvePoint]:
        """The last point of each running trial."""
        return self._store.progress(self._name)

    def curves(self) -> Mapping[int, Sequence[CurvePoint]]:
        return self._store.curves(self._name)


@dataclass(frozen=True)
class StudyRow:
    """One line of the list of studies, and the revision that it was made from."""

    revision: int
    bests: str
    budget: str
    share: float | None
    """How much of the scarcest budget is used, 0..1; ``None`` where nothing bounds the study."""


@st.cache_resource(show_spinner=False)
def _store(url: str) -> SqlStore:
    return open_store(url, read_only=True)


def store() -> SqlStore:
    """The store of this server, opened read-only."""
    settings = current()
    assert settings is not None
    return _store(settings.storage)


@st.cache_resource(show_spinner="Loading the study", max_entries=STUDIES_HELD)
def _feed(url: str, name: str) -> LiveStudy:
    return LiveStudy(_store(url), name)


def feed(name: str) -> LiveStudy:
    """The feed of a study; :class:`~autotune.errors.NotFoundError` where there is none."""
    settings = current()
    assert settings is not None
    return _feed(settings.storage, name)


@st.cache_resource(show_spinner=False)
def _lines(url: str) -> dict[str, StudyRow]:
    return {}


def lines() -> dict[str, StudyRow]:
    """The lines made so far, by study."""
    settings = current()
    assert settings is not None
    return _lines(settings.storage)


def line(
    known: dict[str, StudyRow], overview: StudyOverview, *, make: bool = True
) -> StudyRow | None:
    """Best figures of a study, from those ``known`` where nothing has changed; ``None`` where they
    would have to be computed and ``make`` is not set."""
    name = overview.study.name
    found = known.get(name)
    if found is not None and found.revision == overview.revision:
        return found
    if not make:
        return found
    trials = store().trials(name)
    uses = [use for use in budget_use(overview.study, trials) if use.limit]
    share = max((min(use.share or 0.0, 1.0) for use in uses), default=None)
    known[name] = StudyRow(overview.revision, _bests(overview, trials), _budget(uses), share)
    return known[name]


def _bests(overview: StudyOverview, trials: Sequence[Trial]) -> str:
    default = find_baseline(overview.study, trials)
    parts = []
    for top in best_trials(overview.study, trials):
        ratio = format_ratio_to_default(top.objective.metric, top.value, default)
        figure = format_metric(top.objective.metric, top.value)
        parts.append(f"{figure} ({ratio})" if ratio else figure)
    return " · ".join(parts)


def _budget(uses: Sequence[BudgetUse]) -> str:
    """What is left of each budget."""
    left = [_left(use.name, max((use.limit or 0.0) - use.used, 0.0)) for use in uses]
    return ", ".join(left) or "unbounded"


def _left(name: str, amount: float) -> str:
    return f"${amount:.2g}" if name == "usd" else f"{amount:.3g} {name}"


def is_live(state_counts: Mapping[State, int]) -> bool:
    """Whether something runs or waits to."""
    return bool(state_counts.get(State.RUNNING) or state_counts.get(State.QUEUED))


def live(snapshot: Snapshot) -> bool:
    return is_live(count_by_state(snapshot.trials))


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in words."""
    if at is None:
        return "not yet"
    minutes = (now - at).total_seconds() / 60
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes:.0f} min ago"
    return f"{minutes / 60:.0f} h ago" if minutes < 60 * 48 else f"{minutes / 1440:.0f} days ago"
