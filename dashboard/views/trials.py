"""All trials as a table to sort, filter and download, and as a plot of settings and results."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from autotune.analysis.filters import filter_by_condition
from autotune.analysis.importance import measured_trials
from autotune.analysis.snapshot import ON_TEST, Snapshot
from autotune.analysis.text import metric_label
from autotune.domain import State, Trial
from autotune.domain.metrics import MetricKind, get_metric
from autotune.errors import ExpressionError

from ..common import HIDE_TOOLBAR, is_complete_result, link, study_page
from ..live import LiveStudy
from ..parallel_figure import parallel_figure, selected_numbers
from ..text import escape_markdown


@study_page("Trials", no_trial="No trial has started yet. Trials appear here as they start.")
def page(_study: LiveStudy, snapshot: Snapshot) -> None:
    selected = _filtered(snapshot)
    brushed = selected_numbers(_brushes(snapshot))
    numbers = [t.number for t in selected if brushed is None or t.number in brushed]
    frame = pd.DataFrame(snapshot.table_columns())
    frame = frame[frame["trial"].isin(numbers)]
    frame = frame.dropna(axis="columns", how="all")
    _table(snapshot, frame)
    _downloads(snapshot, frame)
    _parallel(snapshot, selected)


def _filtered(snapshot: Snapshot) -> list[Trial]:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    condition = left.text_input(
        "Condition",
        key="where",
        bind="query-params",
        placeholder="accuracy > 0.75 and precision == bf16",
        help="Metrics and levers with == != < <= > >= in and or not + - * / %",
    )
    present = [s.value for s in State if any(t.state is s for t in snapshot.trials)]
    states = right.pills(
        "States", present, selection_mode="multi", key="states", bind="query-params"
    )
    in_states = [t for t in snapshot.trials if not states or t.state.value in states]
    try:
        return filter_by_condition(snapshot.study, in_states, condition or "")
    except ExpressionError as error:
        st.error(escape_markdown(error.message), icon=":material/error:")
        if error.hint:
            st.caption(escape_markdown(error.hint))
        return in_states


def _table(snapshot: Snapshot, frame: pd.DataFrame) -> None:
    widths = {
        f"{name}{suffix}": st.column_config.NumberColumn(
            f"{metric_label(name)}{suffix}",
            format="percent" if get_metric(name).kind is MetricKind.SHARE else "%.4g",
        )
        for name in snapshot.metrics
        for suffix in ("", ON_TEST)
        if f"{name}{suffix}" in frame.columns
    }
    event = st.dataframe(
        frame,
        hide_index=True,
        height=420,
        on_select="rerun",
        selection_mode="single-row",
        key="trials-table",
        column_config={
            **widths,
            "trial": st.column_config.NumberColumn(pinned=True),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
            "started": st.column_config.DatetimeColumn(format="distance"),
        },
    )
    rows = event["selection"]["rows"]
    st.caption(f"{len(frame)} of {len(snapshot.trials)} trials. Select a row to open it.")
    if rows and rows[0] < len(frame):
        number = int(frame["trial"].iloc[rows[0]])
        link("trial", f"Open trial {number}", icon=":material/open_in_full:", trial=number)


def _downloads(snapshot: Snapshot, frame: pd.DataFrame) -> None:
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in snapshot.study.name)
    with st.container(horizontal=True):
        for title, suffix, mime, content in (
            ("CSV", "csv", "text/csv", _csv(frame)),
            ("Parquet", "parquet", "application/vnd.apache.parquet", _parquet(frame)),
        ):
            st.download_button(
                title, content, f"{name}-trials.{suffix}", mime,
                icon=":material/download:", on_click="ignore", key=f"download-{suffix}",
            )  # fmt: skip


def _csv(frame: pd.DataFrame) -> Callable[[], bytes]:
    """The table as CSV. A cell that a spreadsheet would run as a formula is quoted."""

    def escape(value: object) -> object:
        is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
        return f"'{value}" if is_formula else value

    return lambda: frame.map(escape).to_csv(index=False).encode()


def _parquet(frame: pd.DataFrame) -> Callable[[], bytes]:
    def content() -> bytes:
        buffer = io.BytesIO()
        mixed = [name for name in frame.columns if frame[name].dtype == object]
        texts = frame.astype(dict.fromkeys(mixed, "string"))
        texts.to_parquet(buffer, index=False)
        return buffer.getvalue()

    return content


def _parallel(snapshot: Snapshot, trials: Sequence[Trial]) -> None:
    st.subheader("Settings and results", anchor=False)
    members = [t for t in trials if is_complete_result(t)]
    if len(members) < 2:
        st.caption("Needs at least two complete trials, confirmation runs aside.")
        return
    brushes = _brushes(snapshot)
    selected = selected_numbers(brushes)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.selectbox(
            "Coloured by", snapshot.metrics, key="parallel-by", format_func=metric_label, width=240
        )
        if brushes and st.button("Clear the selection", icon=":material/filter_alt_off:"):
            brushes.clear()
            st.rerun()

    def add_brush() -> None:
        """Narrow the selection to the points of the new box, axis by axis."""
        box: dict[int, set[int]] = {}
        for point in st.session_state["parallel"]["selection"]["points"]:
            number, axis = map(int, point["customdata"])
            box.setdefault(axis, set()).add(number)
        brushes.update(box)

    if not measured_trials(members, metric):
        st.caption(f"No trial here measured {escape_markdown(metric_label(metric))}.")
        return
    st.plotly_chart(
        parallel_figure(snapshot, members, metric, selected),
        key="parallel",
        on_select=add_brush,
        selection_mode="box",
        config=HIDE_TOOLBAR,
        alt="Settings and results of each trial as one line",
    )
    st.caption(
        "Drag a box over an axis to select trials by it, and over another axis to narrow the "
        "selection down. The table above follows."
    )


def _brushes(snapshot: Snapshot) -> dict[int, set[int]]:
    """The numbers of the trials that were selected on each axis of the plot, of this study."""
    name, brushes = st.session_state.get("brushes", ("", {}))
    if name != snapshot.study.name:
        brushes = {}
        st.session_state["brushes"] = (snapshot.study.name, brushes)
    selection: dict[int, set[int]] = brushes
    return selection
