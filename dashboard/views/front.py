"""The front: which trials are beaten by none, which one to take, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from autotune.analysis.filters import MetricFilter, more_is_better
from autotune.analysis.front import knee, suggest_trial, value_of
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import metric_label
from autotune.domain import Trial
from autotune.domain.metrics import METRICS
from autotune.report.axes import Axis

from ..common import figures, link, sentence, state_line, study_page
from ..front_figure import View, front_figure, front_figure_3d
from ..text import escape_markdown

NOTHING = "nothing"


def page() -> None:
    opened = study_page("Front")
    if opened is None:
        return
    _, snapshot = opened
    if not snapshot.feasible:
        _explain_emptiness(snapshot)
    if not snapshot.trials:
        return
    picture, side = st.columns([7, 3])
    with side:
        wanted = _filters(snapshot)
        members = snapshot.filter_trials(wanted)
        front = snapshot.front_of(members)
        suggested, why = _suggestion(snapshot, front)
    with picture:
        _picture(snapshot, members, front, suggested)
    if suggested is not None:
        with side:
            _card(snapshot, suggested, why)
    elif snapshot.feasible:
        side.info("No trial passes these filters. Loosen one of them.", icon=":material/tune:")


def _explain_emptiness(snapshot: Snapshot) -> None:
    if not snapshot.trials:
        st.info("Nothing has run yet. The default configuration is measured first.")
    elif not any(t.state.finished for t in snapshot.trials):
        st.info("The first trial is running. Its result will appear here.")
    else:
        st.warning(
            "No trial is complete and within the constraints yet. Point at the marks below "
            "for the reasons, or see the Trials page.",
            icon=":material/block:",
        )


# ---------------------------------------------------------------------------------- the picture


def _picture(
    snapshot: Snapshot, members: Sequence[Trial], front: Sequence[Trial], suggested: Trial | None
) -> None:
    choice = _axes(snapshot)
    selected = snapshot.by_number.get(_selected())
    on_front = {t.number for t in front}
    view = View(
        choice.x,
        choice.y,
        choice.colour,
        dominated=[t for t in members if t.number not in on_front],
        outside=snapshot.violating,
        front=front,
        line=snapshot.front_of(members, (choice.x.metric, choice.y.metric)),
        suggested=suggested,
        selected=selected,
        bright_is_low=choice.colour is not None
        and not more_is_better(snapshot.study, choice.colour.metric),
    )
    solid = choice.solid and choice.colour is not None
    _draw(front_figure_3d(snapshot, view) if solid else front_figure(snapshot, view))
    hidden = len(snapshot.feasible) - len(members)
    note = f"{len(front)} of {len(members)} trials on the front"
    if snapshot.feasible:
        st.caption(f"{note}, {hidden} hidden by the filters." if hidden else f"{note}.")
    if selected is not None:
        _chosen(snapshot, selected)


def _draw(figure: go.Figure) -> None:
    def picked() -> None:
        points = st.session_state["front-figure"]["selection"]["points"]
        if points and points[0].get("customdata"):
            st.session_state["picked"] = int(points[0]["customdata"][0])

    st.plotly_chart(
        figure,
        key="front-figure",
        on_select=picked,
        selection_mode="points",
        config={"displaylogo": False, "scrollZoom": False, "displayModeBar": "hover"},
        alt="Trials by two metrics, the front among them",
    )


def _selected() -> int:
    """The trial in the URL or clicked last, -1 for none."""
    if "picked" in st.session_state:
        st.query_params["trial"] = str(st.session_state.pop("picked"))
    asked = st.query_params.get("trial", "")
    return int(asked) if asked.isdigit() else -1


@dataclass(frozen=True)
class Choice:
    """What the reader asked to see."""

    x: Axis
    y: Axis
    colour: Axis | None
    solid: bool


def _axes(snapshot: Snapshot) -> Choice:
    metrics = list(snapshot.metrics)
    first = metrics[0]
    own = [o.metric for o in snapshot.study.objectives]
    rest = [m for m in (*own[1:], "accuracy", *metrics[1:]) if m in metrics and m != first]
    second = rest[0] if rest else first
    third = next((o.metric for o in snapshot.study.objectives[2:]), NOTHING)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        x = _metric("Across", "x", metrics, first)
        y = _metric("Up", "y", metrics, second)
        colour = _metric("Colour", "colour", [NOTHING, *metrics], third)
        with st.popover("View", icon=":material/visibility:"):
            relative = st.toggle("Times the default", key="relative", bind="query-params")
            log_x = st.toggle("Logarithmic across", key="logx", bind="query-params")
            log_y = st.toggle("Logarithmic up", key="logy", bind="query-params")
            solid = st.toggle(
                "Three dimensions", key="solid", bind="query-params",
                disabled=colour == NOTHING, help="Shows the colour metric as a third axis",
            )  # fmt: skip
    base = {m: value_of(snapshot.baseline, m) if relative else None for m in metrics}
    shade = None if colour == NOTHING else Axis(colour, base[colour])
    return Choice(Axis(x, base[x], log_x), Axis(y, base[y], log_y), shade, solid)


def _metric(title: str, key: str, options: list[str], default: str) -> str:
    picked: str = st.selectbox(
        title, options, options.index(default), key=key, bind="query-params",
        format_func=metric_label, width=190,
    )  # fmt: skip
    return picked


# ------------------------------------------------------------------------------ filters, advice


def _filters(snapshot: Snapshot) -> Sequence[MetricFilter]:
    """Sliders over what the feasible trials reach; at their loose end they hide nothing."""
    st.subheader("At least, at most", anchor=False)
    offered = snapshot.metric_filters
    wanted = []
    for bound in offered:
        words = "at least" if bound.at_least else "at most"
        scale = 100.0 if bound.is_ratio else 1.0
        value = st.slider(
            f"{escape_markdown(metric_label(bound.metric))} {words}",
            bound.low * scale,
            bound.high * scale,
            bound.inactive_value * scale,
            step=bound.step * scale,
            format=_number_format(bound),
            key=f"at-{bound.metric}",
            bind="query-params",
        )
        wanted.append(bound.with_value(value / scale))
    if not offered:
        st.caption("Filters appear with the first results.")
    return wanted


def _number_format(bound: MetricFilter) -> str:
    unit = METRICS[bound.metric].unit if bound.metric in METRICS else ""
    if bound.is_ratio:
        return "%.1f%%"
    return "$%.4g" if unit.startswith("USD") else f"%.4g {unit}".strip()


def _suggestion(snapshot: Snapshot, front: Sequence[Trial]) -> tuple[Trial | None, str]:
    """One point of the front and why it is the one."""
    if not snapshot.feasible:
        return None, ""
    if len(snapshot.study.objectives) == 1:
        return (front[0] if front else None), "It is the best of all that satisfy your filters."
    st.subheader("Suggest one", anchor=False)
    way = st.segmented_control(
        "Suggest one", ["Knee", "By weight"], default="Knee", key="way", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    if way != "By weight":
        return knee(
            snapshot.study, front
        ), "Of the front, it comes nearest to the best of every objective at once."
    weights = _weights(snapshot)
    heavy = max(weights, key=lambda metric: weights[metric])
    why = f"It loses least by your weights, of which {metric_label(heavy)} has the most."
    return suggest_trial(snapshot.study, front, weights), why


def _weights(snapshot: Snapshot) -> Mapping[str, float]:
    return {
        o.metric: float(
            st.slider(
                f"Weight of {escape_markdown(metric_label(o.metric))}", 0, 10, 5,
                key=f"w-{o.metric}", bind="query-params",
            )
        )
        for o in snapshot.study.objectives
    }  # fmt: skip


def _card(snapshot: Snapshot, trial: Trial, why: str) -> None:
    with st.container(border=True):
        st.markdown(f"**Trial {trial.number}**: {sentence(snapshot, trial)}.")
        st.caption(why)
        if (chance := snapshot.front_probabilities.get(trial.number)) is not None:
            st.caption(f"{chance:.0%} sure to be on the front given the noise of all measurements.")
        st.caption(escape_markdown(snapshot.strategy_differences[trial.number]))
        with st.container(horizontal=True):
            link("trial", "Open", icon=":material/open_in_full:", trial=trial.number)
            link("export", "Export", icon=":material/ios_share:", choice=trial.number)


def _chosen(snapshot: Snapshot, trial: Trial) -> None:
    """The trial that was clicked."""
    with st.container(border=True):
        st.subheader(f"Trial {trial.number}", anchor=False)
        state_line(snapshot, trial)
        if snapshot.baseline is not None and trial.result.measurements:
            st.markdown(f"{sentence(snapshot, trial).capitalize()}.")
        figures(snapshot, trial)
        st.caption(escape_markdown(snapshot.strategy_differences[trial.number]))
        with st.container(horizontal=True):
            link("trial", "Everything about it", icon=":material/open_in_full:", trial=trial.number)
            if trial.result.measurements:
                link("export", "Export", icon=":material/ios_share:", choice=trial.number)
