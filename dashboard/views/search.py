"""The search: budget, running trials, growth of the front, early stops, timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import budget_use, count_by_state
from autotune.analysis.timeline import EarlyStop, early_stops, rung_counts, timeline
from autotune.domain import CurvePoint, SearchState, State
from autotune.report.figures import growth_figure

from ..common import HIDE_TOOLBAR, LIVE_SECONDS, now, study_page
from ..figures import rungs_figure, states_figure, timeline_figure
from ..live import LiveStudy

MAX_TRIALS_WITH_CURVES = 2_000
"""With more trials, the table of early stops is made without learning curves."""


@study_page("Search")
def page(study: LiveStudy, snapshot: Snapshot) -> None:
    moment = _last_moment(study, snapshot)
    _budget(snapshot, moment)
    _running(study, snapshot)
    _growth(snapshot)
    curves = study.curves() if len(snapshot.trials) <= MAX_TRIALS_WITH_CURVES else None
    stops = early_stops(snapshot.trials, curves)
    left, right = st.columns(2)
    with left:
        _states(snapshot)
    with right:
        _rungs(snapshot, stops, curves)
    _reasons(stops)
    _timeline(snapshot, moment)


def _last_moment(study: LiveStudy, snapshot: Snapshot) -> datetime:
    """Until when running trials ran: now, unless their driver went away."""
    status = study.search_status()
    if status is None or status.state is not SearchState.KILLED:
        return now()
    times = [time for t in snapshot.trials for time in (t.started_at, t.finished_at)]
    return max(filter(None, times), default=now())


def _budget(snapshot: Snapshot, moment: datetime) -> None:
    with st.container(horizontal=True):
        for use in budget_use(snapshot.study, snapshot.trials, moment):
            money = use.name == "usd"
            used = f"${use.used:.2g}" if money else f"{use.used:.3g}"
            name = "dollars" if money else use.name
            with st.container(width=200):
                if use.limit is None:
                    st.metric(f"{name}, no limit", used)
                    continue
                left = max(use.limit - use.used, 0.0)
                st.metric(name, f"{used} of {use.limit:.4g}")
                st.progress(
                    min(use.share or 0.0, 1.0), f"${left:.2g} left" if money else f"{left:.3g} left"
                )


def _running(study: LiveStudy, snapshot: Snapshot) -> None:
    """The progress of the running trials, from the last point of each."""
    running = [t for t in snapshot.trials if t.state is State.RUNNING]
    if not running:
        return

    def draw() -> None:
        points = study.progress()
        for trial in running:
            point = points.get(trial.number)
            share = point.step / point.total_steps if point and point.total_steps else 0.0
            step = f"step {point.step} of {point.total_steps}" if point else "preparing"
            st.progress(min(share, 1.0), f"Trial {trial.number}, {step}")

    st.fragment(draw, run_every=LIVE_SECONDS)()


def _growth(snapshot: Snapshot) -> None:
    st.subheader("Growth of the front", anchor=False)
    if not snapshot.hypervolume_history:
        st.caption("Available once the default configuration has been measured.")
        return
    axis = st.segmented_control(
        "Over", ["trials", "time"], default="trials", key="over", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    st.plotly_chart(
        growth_figure(snapshot, by_time=axis == "time"), config=HIDE_TOOLBAR, alt="Hypervolume"
    )
    st.caption(
        "Hypervolume that the front dominates, in units of the default configuration. "
        "It is flat while no trial improves the front."
    )


def _states(snapshot: Snapshot) -> None:
    st.subheader("Trials by state", anchor=False)
    st.plotly_chart(
        states_figure(count_by_state(snapshot.trials)), config=HIDE_TOOLBAR, alt="Trials by state"
    )


def _rungs(
    snapshot: Snapshot,
    stops: Sequence[EarlyStop],
    curves: Mapping[int, Sequence[CurvePoint]] | None,
) -> None:
    st.subheader("Stopped early", anchor=False)
    if not stops:
        st.caption("No trial was stopped before its end.")
        return
    if curves is not None:
        st.plotly_chart(
            rungs_figure(rung_counts(snapshot.trials, curves)),
            config=HIDE_TOOLBAR,
            alt="Trials by rung",
        )
    shares = [stop.share for stop in stops if stop.share is not None]
    saved = (
        f", which saved the steps of {sum(1 - s for s in shares):.1f} full runs" if shares else ""
    )
    noun = f"{len(stops)} trial{'s' * (len(stops) > 1)}"
    st.caption(f"{noun} could no longer improve the front{saved}.")


def _reasons(stops: Sequence[EarlyStop]) -> None:
    if not stops:
        return
    rows = [{"trial": s.trial.number, "after": s.share, "reason": s.trial.reason} for s in stops]
    st.dataframe(
        pd.DataFrame(rows).dropna(axis="columns", how="all"),
        hide_index=True,
        height="content" if len(rows) < 8 else 280,
        column_config={
            "trial": st.column_config.NumberColumn(width=50),
            "after": st.column_config.ProgressColumn("of its steps", format="percent", width=130),
        },
    )


def _timeline(snapshot: Snapshot, moment: datetime) -> None:
    st.subheader("Timeline", anchor=False)
    bars = timeline(snapshot.trials, moment)
    if not bars:
        st.caption("No trial has started.")
        return
    st.plotly_chart(timeline_figure(bars), config=HIDE_TOOLBAR, alt="Trials by time and worker")
