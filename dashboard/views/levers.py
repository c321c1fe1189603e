"""The importance of the levers, and the results of their settings."""

from __future__ import annotations

import math
from datetime import datetime

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
from autotune.levers import LEVERS, has_effect

from ..common import HIDE_TOOLBAR, study_page
from ..lever_figures import effect_figure, importance_figure, interaction_figure
from ..live import LiveStudy
from ..text import capitalized, escape_markdown


@study_page(
    "Levers", no_trial="Levers can be compared once trials with different settings are complete."
)
def page(_study: LiveStudy, snapshot: Snapshot) -> None:
    names = varied_levers(snapshot.study, snapshot.trials)
    metrics = [m for m in snapshot.metrics if measured_trials(snapshot.trials, m)]
    if not names or not metrics:
        st.info("Levers can be compared once trials with different settings are complete.")
        return
    most_important = _importance(snapshot)
    with st.container(horizontal=True):
        lever = st.selectbox(
            "Lever",
            names,
            names.index(most_important or names[0]),
            key="lever",
            bind="query-params",
            width=240,
        )
        metric = st.selectbox(
            "Metric",
            metrics,
            key="metric",
            bind="query-params",
            format_func=metric_label,
            width=240,
        )
    left, right = st.columns(2)
    with left:
        _effect(snapshot, lever, metric)
    with right:
        _interaction(snapshot, names, lever, metric)
    _all_effects(snapshot, names, metric)


def _importance(snapshot: Snapshot) -> str | None:
    """Draw the importances. Returns the most important lever for the first objective."""
    st.subheader("Importance of the levers", anchor=False)
    metrics = [o.metric for o in snapshot.study.objectives]
    shares = {metric: share for metric in metrics if (share := cached_importance(snapshot, metric))}
    if not shares:
        st.caption(f"Available after {MIN_TRIALS} complete trials.")
        return None
    st.plotly_chart(importance_figure(shares), config=HIDE_TOOLBAR, alt="Importance of levers")
    st.caption(
        "How much each lever matters for a good value of an objective: by how much its settings in "
        "the best quarter of the trials differ from those in all (PED-ANOVA by Optuna). With few "
        "trials this is a rough estimate."
    )
    return next(iter(next(iter(shares.values()))))


def cached_importance(snapshot: Snapshot, metric: str) -> dict[str, float]:
    """The importance of each lever, computed again when there are 10% more trials."""
    count = len(measured_trials(snapshot.trials, metric))
    stage, start = int(10 * math.log(count + 1)), snapshot.trials[0].started_at
    return _importance_at(snapshot.study.name, start, metric, stage, snapshot)


@st.cache_data(show_spinner="Computing importances", max_entries=64)
def _importance_at(
    study: str, start: datetime | None, metric: str, stage: int, _snapshot: Snapshot
) -> dict[str, float]:
    return lever_importance(_snapshot.study, _snapshot.trials, metric)


def _effect(snapshot: Snapshot, lever: str, metric: str) -> None:
    label = capitalized(escape_markdown(metric_label(metric)))
    st.subheader(f"{label} by {escape_markdown(lever)}", anchor=False)
    if not has_effect(lever, metric):
        st.info(
            f"{escape_markdown(lever)} does not change {escape_markdown(metric_label(metric))}."
        )
        return
    by_setting = setting_effects(snapshot.study, snapshot.trials, lever, metric)
    st.plotly_chart(
        effect_figure(snapshot, by_setting, lever, metric),
        config=HIDE_TOOLBAR,
        alt="Mean by setting",
    )
    summary = LEVERS[lever].summary if lever in LEVERS else ""
    st.caption(f"{escape_markdown(summary)}. Bars: mean and its 95% interval. Dots: single trials.")


def _interaction(snapshot: Snapshot, names: list[str], lever: str, metric: str) -> None:
    others = [name for name in names if name != lever]
    st.subheader("Combined with another lever", anchor=False)
    if not others:
        st.caption("Only one lever was varied.")
        return
    other = st.selectbox("Other lever", others, key="other", label_visibility="collapsed")
    cells = interaction(snapshot.study, snapshot.trials, lever, other, metric)
    st.plotly_chart(
        interaction_figure(snapshot, cells, lever, other, metric),
        config=HIDE_TOOLBAR,
        alt="Mean by two settings",
    )


def _all_effects(snapshot: Snapshot, names: list[str], metric: str) -> None:
    st.subheader(f"Every lever and {escape_markdown(metric_label(metric))}", anchor=False)
    rows = []
    for name in (name for name in names if has_effect(name, metric)):
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
        "Means over the trials of the search, which tries good settings more often: associations, "
        "not causes."
    )
