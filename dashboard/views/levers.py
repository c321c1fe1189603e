"""What each lever does: which ones matter, and which settings go with which results."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from autotune.analysis.importance import (
    MIN_TRIALS,
    interaction,
    lever_importance,
    measured_trials,
    setting_effects,
    varied_levers,
)
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_interval, format_metric, metric_label
from autotune.levers import LEVERS

from ..common import study_page
from ..lever_figures import effect_figure, importance_figure, interaction_figure
from ..text import escape_markdown

STILL = {"displayModeBar": False}


def page() -> None:
    opened = study_page("Levers")
    if opened is None:
        return
    _, snapshot = opened
    names = varied_levers(snapshot.study, snapshot.trials)
    known = [m for m in snapshot.metrics if measured_trials(snapshot.trials, m)]
    if not names or not known:
        st.info("Levers can be compared once trials with different settings are complete.")
        return
    matter = _importance(snapshot)
    with st.container(horizontal=True):
        lever = st.selectbox(
            "Lever",
            names,
            names.index(matter or names[0]),
            key="lever",
            bind="query-params",
            width=240,
        )
        metric = st.selectbox(
            "Metric", known, key="metric", bind="query-params", format_func=metric_label, width=240
        )
    left, right = st.columns(2)
    with left:
        _effect(snapshot, lever, metric)
    with right:
        _interaction(snapshot, names, lever, metric)
    _all_effects(snapshot, names, metric)


def _importance(snapshot: Snapshot) -> str | None:
    """Draws the shares; the lever that matters most to the first objective."""
    st.subheader("Which levers matter", anchor=False)
    metrics = [o.metric for o in snapshot.study.objectives]
    shares = {m: importance_of(snapshot, m) for m in metrics}
    shares = {m: found for m, found in shares.items() if found}
    if not shares:
        st.caption(f"Known from {MIN_TRIALS} complete trials on.")
        return None
    st.plotly_chart(importance_figure(shares), config=STILL, alt="Importance of levers")
    st.caption(
        "Share of each lever in how an objective varies from trial to trial (fANOVA by Optuna). "
        "With few trials these are rough."
    )
    return next(iter(next(iter(shares.values()))))


def importance_of(snapshot: Snapshot, metric: str) -> dict[str, float]:
    """Computed anew whenever there are a tenth more trials to judge by."""
    count = len(measured_trials(snapshot.trials, metric))
    return _importance_at(snapshot.study.name, metric, int(10 * math.log(count + 1)), snapshot)


@st.cache_data(show_spinner="Weighing the levers", max_entries=64)
def _importance_at(study: str, metric: str, stage: int, _snapshot: Snapshot) -> dict[str, float]:
    return lever_importance(_snapshot.study, _snapshot.trials, metric)


def _effect(snapshot: Snapshot, lever: str, metric: str) -> None:
    st.subheader(
        f"{escape_markdown(metric_label(metric)).capitalize()} by {escape_markdown(lever)}",
        anchor=False,
    )
    found = setting_effects(snapshot.study, snapshot.trials, lever, metric)
    st.plotly_chart(
        effect_figure(snapshot, found, lever, metric), config=STILL, alt="Mean by setting"
    )
    summary = LEVERS[lever].summary if lever in LEVERS else ""
    st.caption(f"{escape_markdown(summary)}. Bars: mean and its 95% interval; dots: single trials.")


def _interaction(snapshot: Snapshot, names: list[str], lever: str, metric: str) -> None:
    others = [name for name in names if name != lever]
    st.subheader("Together with another lever", anchor=False)
    if not others:
        st.caption("Only one lever was varied.")
        return
    other = st.selectbox("Other lever", others, key="other", label_visibility="collapsed")
    cells = interaction(snapshot.study, snapshot.trials, lever, other, metric)
    st.plotly_chart(
        interaction_figure(snapshot, cells, lever, other, metric),
        config=STILL,
        alt="Mean by two settings",
    )


def _all_effects(snapshot: Snapshot, names: list[str], metric: str) -> None:
    st.subheader(f"Every lever and {escape_markdown(metric_label(metric))}", anchor=False)
    rows = []
    for name in names:
        for effect in setting_effects(snapshot.study, snapshot.trials, name, metric):
            rows.append(
                {
                    "lever": name,
                    "setting": effect.setting,
                    "mean": format_metric(metric, effect.mean),
                    "95% interval": format_interval(metric, effect.ci95),
                    "trials": effect.n,
                }
            )
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=360)
    st.caption(
        "Means over the trials of the search, which tries good settings more often: they say what "
        "went with a setting, not what it alone causes."
    )
