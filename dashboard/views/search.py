"""The search itself: how the front grew, what it cost, what was stopped, who ran when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import budget_use, count_by_state
from autotune.analysis.timeline import EarlyStop, early_stops, rung_counts, timeline
from autotune.domain import CurvePoint, State
from autotune.report.figures import growth_figure

from .. import live
from ..common import LIVE_SECONDS, now, study_page
from ..figures import rungs_figure, states_figure, timeline_figure

MOST_CURVES = 2_000
"""Beyond this many trials learning curves are not read for the table of early stops."""
STILL = {"displayModeBar": False}


def page() -> None:
    opened = study_page("Search")
    if opened is None:
        return
    source, snapshot = opened
    if not snapshot.trials:
        st.info("Nothing has run yet. The default configuration is measured first.")
        return
    _budget(snapshot)
    _running(source, snapshot)
    _growth(snapshot)
    curves = source.curves() if len(snapshot.trials) <= MOST_CURVES else None
    found = early_stops(snapshot.trials, curves)
    left, right = st.columns(2)
    with left:
        _states(snapshot)
    with right:
        _rungs(snapshot, found, curves)
    _reasons(found)
    _timeline(snapshot)


def _budget(snapshot: Snapshot) -> None:
    with st.container(horizontal=True):
        for use in budget_use(snapshot.study, snapshot.trials, now()):
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


def _running(source: live.LiveStudy, snapshot: Snapshot) -> None:
    """Progress of what runs now; only the last point of each is fetched."""
    running = [t for t in snapshot.trials if t.state is State.RUNNING]
    if not running:
        return

    def draw() -> None:
        points = source.progress()
        for trial in running:
            point = points.get(trial.number)
            share = point.step / point.total_steps if point and point.total_steps else 0.0
            words = f"step {point.step} of {point.total_steps}" if point else "preparing"
            st.progress(min(share, 1.0), f"Trial {trial.number}, {words}")

    st.fragment(draw, run_every=LIVE_SECONDS)()


def _growth(snapshot: Snapshot) -> None:
    st.subheader("How the front grew", anchor=False)
    if not snapshot.hypervolume_history:
        st.caption("Known once the default configuration has been measured.")
        return
    over = st.segmented_control(
        "Over", ["trials", "time"], default="trials", key="over", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    st.plotly_chart(
        growth_figure(snapshot, by_time=over == "time"), config=STILL, alt="Hypervolume"
    )
    st.caption(
        "Hypervolume: how much the front dominates, in units of the default configuration. "
        "A flat line means that nothing better was found."
    )


def _states(snapshot: Snapshot) -> None:
    st.subheader("What became of the trials", anchor=False)
    st.plotly_chart(
        states_figure(count_by_state(snapshot.trials)), config=STILL, alt="Trials by state"
    )


def _rungs(
    snapshot: Snapshot,
    found: Sequence[EarlyStop],
    curves: Mapping[int, Sequence[CurvePoint]] | None,
) -> None:
    st.subheader("Stopped early", anchor=False)
    if not found:
        st.caption("No trial was stopped before its end.")
        return
    if curves is not None:
        st.plotly_chart(
            rungs_figure(rung_counts(snapshot.trials, curves)), config=STILL, alt="Trials by rung"
        )
    known = [stop.share for stop in found if stop.share is not None]
    saved = (
        f", which saved the steps of {sum(1 - s for s in known):.1f} whole ones" if known else ""
    )
    st.caption(f"{len(found)} trials could no longer matter{saved}.")


def _reasons(found: Sequence[EarlyStop]) -> None:
    if not found:
        return
    rows = [{"trial": s.trial.number, "after": s.share, "reason": s.trial.reason} for s in found]
    st.dataframe(
        pd.DataFrame(rows).dropna(axis="columns", how="all"),
        hide_index=True,
        height="content" if len(rows) < 8 else 280,
        column_config={
            "trial": st.column_config.NumberColumn(width="small"),
            "after": st.column_config.ProgressColumn(
                "of its steps", format="percent", width="small"
            ),
            "reason": st.column_config.TextColumn(width="large"),
        },
    )


def _timeline(snapshot: Snapshot) -> None:
    st.subheader("Who ran when", anchor=False)
    bars = timeline(snapshot.trials, now())
    if not bars:
        st.caption("No trial has started.")
        return
    st.plotly_chart(timeline_figure(bars), config=STILL, alt="Trials over time by worker")
