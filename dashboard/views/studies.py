"""All studies of the store: how far each is, and what it has found so far."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from autotune.domain import State
from autotune.store import StudyOverview

from .. import live
from ..common import auto_refresh, link, now, refresh_interval

PATIENCE_SECONDS = 0.4
"""Time taken from one drawing of the list for best figures that are not known yet."""
THINKING_SECONDS = 30
"""For so long after its last change a study counts as running: a search thinks between trials."""


def page() -> None:
    st.title("Studies", anchor=False)
    overviews = live.store().studies_overview()[::-1]
    if not overviews:
        st.info(
            "No study here yet. Start one with `autotune search search_spaces/bert.yaml`; "
            "it shows up here while it runs.",
            icon=":material/science:",
        )
    else:
        _table(overviews)
    _watch(overviews)


def _table(overviews: Sequence[StudyOverview]) -> None:
    frame, missing = _frame(overviews)
    event = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"studies-{len(overviews)}",
        column_config={
            "progress": st.column_config.ProgressColumn(
                format="%d%%", min_value=0, max_value=100, width="small"
            ),
            "best so far (times the default)": st.column_config.TextColumn(width=330),
        },
    )
    chosen = event["selection"]["rows"]
    name = overviews[chosen[0]].study.name if chosen else overviews[0].study.name
    st.caption("Pick a row to open a study." if not chosen else f"Chosen: {len(chosen)} study")
    with st.container(horizontal=True):
        for target, text in (("front", "Front"), ("trials", "Trials"), ("search", "Search")):
            link(target, f"{text} of the {'chosen' if chosen else 'newest'} study", study=name)
    if missing:
        st.caption(f"Reading the figures of {missing} more.")
        auto_refresh(lambda: True, 0.5)


def _frame(overviews: Sequence[StudyOverview]) -> tuple[pd.DataFrame, int]:
    """The list, and how many studies still lack their figures."""
    started, known, rows, missing = time.monotonic(), live.lines(), [], 0
    for overview in overviews:
        line = live.line(known, overview, make=time.monotonic() - started < PATIENCE_SECONDS)
        missing += line is None
        rows.append(_row(overview, line))
    return pd.DataFrame(rows), missing


def _row(overview: StudyOverview, line: live.StudyRow | None) -> dict[str, object]:
    share = None if line is None else line.share
    broken = sum(overview.counts.get(s, 0) for s in (State.INFEASIBLE, State.FAILED))
    return {
        "study": overview.study.name,
        "state": _state(overview, share),
        "progress": None if share is None else round(100 * share),
        "best so far (times the default)": "…" if line is None else line.bests or "nothing yet",
        "budget left": "…" if line is None else line.budget,
        "started": live.age(overview.started_at, now()),
        "trials": overview.finished,
        "without result": broken,
        "model": overview.study.task.model,
    }


def _state(overview: StudyOverview, share: float | None) -> str:
    if _runs(overview):
        return "running"
    if overview.started_at is None:
        return "not started"
    return "done" if share == 1.0 else "stopped"


def _runs(overview: StudyOverview) -> bool:
    quiet = (now() - overview.changed_at).total_seconds()
    return live.is_live(overview.counts) or (bool(overview.counts) and quiet < THINKING_SECONDS)


def _watch(overviews: Sequence[StudyOverview]) -> None:
    """Draw again when a study has changed or a new one has come."""
    seen = [(o.study.name, o.revision, _runs(o)) for o in overviews]

    def news() -> bool:
        fresh = live.store().studies_overview()[::-1]
        return [(o.study.name, o.revision, _runs(o)) for o in fresh] != seen

    auto_refresh(news, refresh_interval(any(_runs(overview) for overview in overviews)))
