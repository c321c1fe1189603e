"""All studies of the store, with their progress and best values."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from autotune.domain import SearchState, SearchStatus, State
from autotune.store import StudyOverview

from .. import live
from ..common import NO_STUDY, auto_refresh, link, now, refresh_interval
from ..text import escape_markdown

ROW_HEIGHT, LINE_HEIGHT = 35, 21
"""Pixels: of a row of one line, and of each further line. Each objective has a line."""

MAX_COMPUTE_SECONDS = 0.4
"""Time in which one drawing of the list computes rows that are not cached."""


def page() -> None:
    st.title("Studies", anchor=False)
    overviews = live.store().studies_overview()[::-1]
    if not overviews:
        st.info(f"{NO_STUDY} It appears here while it runs.", icon=":material/science:")
    else:
        _table(overviews)
    _watch(overviews)


def _table(overviews: Sequence[StudyOverview]) -> None:
    frame, missing = _frame(overviews)
    lines = max(len(overview.study.objectives) for overview in overviews)
    event = st.dataframe(
        frame,
        hide_index=True,
        row_height=ROW_HEIGHT + LINE_HEIGHT * (lines - 1),
        on_select="rerun",
        selection_mode="single-row",
        key=f"studies-{len(overviews)}",
        column_config={
            "progress": st.column_config.ProgressColumn(
                format="%d%%", min_value=0, max_value=100, width="small"
            ),
            "best so far (against the default)": st.column_config.TextColumn(width=400),
        },
    )
    rows = event["selection"]["rows"]
    name = overviews[rows[0]].study.name if rows else overviews[0].study.name
    st.caption(
        "Select a row to open a study." if not rows else f"Selected: {escape_markdown(name)}"
    )
    with st.container(horizontal=True):
        for target, text in (("front", "Front"), ("trials", "Trials"), ("search", "Search")):
            link(target, f"{text} of the {'selected' if rows else 'newest'} study", study=name)
    if missing:
        st.caption(f"Loading {missing} more.")
        auto_refresh(lambda: True, 0.5)


def _frame(overviews: Sequence[StudyOverview]) -> tuple[pd.DataFrame, int]:
    """The list, and the number of its rows that are not computed yet, or are outdated."""
    start, cached, rows, missing = time.monotonic(), live.study_rows(), [], 0
    for overview in overviews:
        compute = time.monotonic() - start < MAX_COMPUTE_SECONDS
        row = live.study_row(cached, overview, compute=compute)
        missing += row is None or row.version != (overview.created_at, overview.revision)
        rows.append(_cells(overview, row))
    return pd.DataFrame(rows), missing


def _cells(overview: StudyOverview, row: live.StudyRow | None) -> dict[str, object]:
    share = None if row is None else row.share
    without_result = sum(overview.counts.get(s, 0) for s in (State.INFEASIBLE, State.FAILED))
    return {
        "study": overview.study.name,
        "state": _state(overview, share),
        "reason": (overview.status(now()) or SearchStatus(SearchState.DONE)).reason or "",
        "progress": None if share is None else round(100 * share),
        "best so far (against the default)": "…" if row is None else row.bests or "nothing yet",
        "budget left": "…" if row is None else row.budget,
        "started": live.format_age(overview.started_at, now()),
        "trials": overview.finished_trials,
        "without result": without_result,
        "model": overview.study.task.model,
    }


def _state(overview: StudyOverview, share: float | None) -> str:
    if (status := overview.status(now())) is not None:
        return status.state.value
    if overview.started_at is None:
        return "not started"
    return "done" if share == 1.0 else "stopped"  # a study of before the end was recorded


def _is_running(overview: StudyOverview) -> bool:
    status = overview.status(now())
    return status is not None and status.state is SearchState.RUNNING


def _watch(overviews: Sequence[StudyOverview]) -> None:
    """Draw the page again when a study has changed or was added."""
    rows = [(o.study.name, o.revision, _is_running(o)) for o in overviews]

    def has_changed() -> bool:
        current = live.store().studies_overview()[::-1]
        return [(o.study.name, o.revision, _is_running(o)) for o in current] != rows

    auto_refresh(
        has_changed, refresh_interval(any(_is_running(overview) for overview in overviews))
    )
