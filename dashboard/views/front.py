"""The front: the trials that no other dominates, and which one to use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from autotune.analysis.attribution import path_sentence
from autotune.analysis.filters import MetricFilter, more_is_better
from autotune.analysis.front import value_of
from autotune.analysis.recommendation_text import describe_empty_front
from autotune.analysis.refutation import MIN_PROBABILITY
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import metric_label
from autotune.domain import Trial
from autotune.domain.metrics import METRICS
from autotune.domain.text import parse_trial_number
from autotune.report.axes import Axis

from ..common import (
    front_probability,
    is_complete_result,
    link,
    objective_metrics,
    sentence,
    state_line,
    study_page,
)
from ..front_figure import front_figure, front_figure_3d
from ..front_traces import View
from ..live import LiveStudy
from ..text import capitalized, escape_markdown

NO_METRIC = "nothing"
"""Choice of no metric for the colour."""
NO_MEMBER = "No trial passes these filters."


@study_page("Front")
def page(_study: LiveStudy, snapshot: Snapshot) -> None:
    if not snapshot.feasible:
        _explain_no_result(snapshot)
    plot, side = st.columns([7, 3])
    with side:
        members = snapshot.filter_trials(_filters(snapshot))
        front = snapshot.front_of(members)
        suggested, reason = _suggestion(snapshot, members)
    with plot:
        _plot(snapshot, members, front, suggested)
    if suggested is not None:
        with side:
            _suggestion_card(snapshot, suggested, reason)
    elif snapshot.feasible:
        unlikely = f"satisfies every constraint with a probability of {MIN_PROBABILITY}"
        reason = f"No trial that passes these filters {unlikely}." if members else NO_MEMBER
        side.info(f"{reason} Relax one of them.", icon=":material/tune:")


def _explain_no_result(snapshot: Snapshot) -> None:
    if not any(t.state.is_finished for t in snapshot.trials):
        st.info("The first trial is running. Its result will appear here.")
    else:
        closest = snapshot.recommendation_sentence("knee")
        why = describe_empty_front(snapshot.study, snapshot.trials)
        reason = closest or f"{capitalized(why)}."
        st.warning(
            f"{escape_markdown(reason)} Point at the marks below for the reasons of each trial, or "
            "see the Trials page.",
            icon=":material/block:",
        )


# ------------------------------------------------------------------------------------- the plot


def _plot(
    snapshot: Snapshot, members: Sequence[Trial], front: Sequence[Trial], suggested: Trial | None
) -> None:
    options = _plot_options(snapshot)
    selected = snapshot.by_number.get(_selected_number())
    on_front = {t.number for t in front}
    dominated = [t for t in members if t.number not in on_front]
    marked = [t for t in (*front, suggested, selected, snapshot.baseline) if t is not None]
    if options.show_all:
        marked += [*dominated, *snapshot.violating]
    x, y = (axis.zoomed(marked, dominated) for axis in (options.x, options.y))
    in_range = [t for t in dominated if x.contains(t) and y.contains(t)]
    violating = [t for t in snapshot.violating if x.contains(t) and y.contains(t)]
    view = View(
        x,
        y,
        options.colour,
        dominated=in_range,
        violating=violating,
        front=front,
        line=snapshot.front_of(members, (x.metric, y.metric)),
        suggested=suggested,
        selected=selected,
        bright_is_low=options.colour is not None
        and not more_is_better(snapshot.study, options.colour.metric),
    )
    is_3d = options.is_3d and options.colour is not None
    _draw(front_figure_3d(snapshot, view) if is_3d else front_figure(snapshot, view))
    st.caption(
        _count_trials(
            snapshot,
            on_front=len(front),
            hidden=len(snapshot.feasible) - len(members),
            outside=len(dominated) - len(in_range) + len(snapshot.violating) - len(violating),
        )
    )
    if selected is not None:
        _selected_card(snapshot, selected)


def _count_trials(snapshot: Snapshot, *, on_front: int, hidden: int, outside: int) -> str:
    """How many of the complete trials are on the front, and where the others are."""
    feasible, violating = len(snapshot.feasible), len(snapshot.violating)
    others = {
        "dominated": feasible - hidden - on_front,
        "hidden by the filters": hidden,
        "outside the constraints": violating,
    }
    parts = [f"{count} {name}" for name, count in others.items() if count]
    total = f"{on_front} of {feasible + violating} complete trials on the front"
    note = f" {outside} beyond the range of the plot: see View." if outside else ""
    return f"{', '.join([total, *parts])}.{note}"


def _draw(figure: go.Figure) -> None:
    def store_selection() -> None:
        points = st.session_state["front-figure"]["selection"]["points"]
        if points and points[0].get("customdata"):
            st.session_state["clicked"] = int(points[0]["customdata"][0])

    st.plotly_chart(
        figure,
        key="front-figure",
        on_select=store_selection,
        selection_mode="points",
        config={"displaylogo": False, "scrollZoom": False, "displayModeBar": "hover"},
        alt="Trials and the front in two metrics",
    )


def _selected_number() -> int:
    """The trial that was clicked last, else the one in the URL; -1 for none."""
    if "clicked" in st.session_state:
        st.query_params["trial"] = str(st.session_state.pop("clicked"))
    number = st.query_params.get("trial", "")
    return -1 if (parsed := parse_trial_number(number)) is None else parsed


@dataclass(frozen=True)
class PlotOptions:
    """The axes and the colour that the reader selected."""

    x: Axis
    y: Axis
    colour: Axis | None
    is_3d: bool
    show_all: bool


def _plot_options(snapshot: Snapshot) -> PlotOptions:
    metrics = list(snapshot.metrics)
    first = metrics[0]
    objectives = [o.metric for o in snapshot.study.objectives]
    others = (*objectives[1:], "accuracy", *metrics[1:])
    second = next((m for m in others if m in metrics and m != first), first)
    third = next((o.metric for o in snapshot.study.objectives[2:]), NO_METRIC)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        x = _select_metric("Across", "x", metrics, first)
        y = _select_metric("Up", "y", metrics, second)
        colour = _select_metric("Colour", "colour", [NO_METRIC, *metrics], third)
        with st.popover("View", icon=":material/visibility:"):
            show_all = st.toggle(
                "All trials", key="all", bind="query-params",
                help="Also those far from the front, beyond the range of the plot",
            )  # fmt: skip
            relative = st.toggle("Ratio to the default", key="relative", bind="query-params")
            log_x = st.toggle("Logarithmic x axis", key="logx", bind="query-params")
            log_y = st.toggle("Logarithmic y axis", key="logy", bind="query-params")
            is_3d = st.toggle(
                "Three dimensions", key="solid", bind="query-params",
                disabled=colour == NO_METRIC, help="Shows the colour metric as a third axis",
            )  # fmt: skip
    base = {m: (value_of(snapshot.baseline, m) or None) if relative else None for m in metrics}
    colour_axis = None if colour == NO_METRIC else Axis(colour, base[colour])
    axes = Axis(x, base[x], log_x), Axis(y, base[y], log_y)
    return PlotOptions(*axes, colour_axis, is_3d, show_all)


def _select_metric(title: str, key: str, options: list[str], default: str) -> str:
    metric: str = st.selectbox(
        title, options, options.index(default), key=key, bind="query-params",
        format_func=metric_label, width=190,
    )  # fmt: skip
    return metric


# -------------------------------------------------------------------------- filters, suggestion


def _filters(snapshot: Snapshot) -> Sequence[MetricFilter]:
    """A slider a metric, over the range of the feasible trials. At one end it hides nothing."""
    st.subheader("Filters", anchor=False)
    filters = []
    for bound in snapshot.metric_filters:
        relation = "at least" if bound.at_least else "at most"
        scale = 100.0 if bound.is_ratio else 1.0
        value = st.slider(
            f"{escape_markdown(metric_label(bound.metric))} {relation}",
            bound.low * scale,
            bound.high * scale,
            bound.inactive_value * scale,
            step=bound.step * scale,
            format=_number_format(bound),
            key=f"at-{bound.metric}",
            bind="query-params",
        )
        filters.append(bound.with_value(value / scale))
    if not filters:
        st.caption("Filters appear with the first results.")
    return filters


def _number_format(bound: MetricFilter) -> str:
    unit = METRICS[bound.metric].unit if bound.metric in METRICS else ""
    if bound.is_ratio:
        return "%.1f%%"
    return "$%.4g" if unit.startswith("USD") else f"%.4g {unit}".strip()


def _suggestion(snapshot: Snapshot, members: Sequence[Trial]) -> tuple[Trial | None, str]:
    """One of the ``members`` that may be recommended, and the reason to suggest it."""
    recommender = snapshot.recommender
    acceptable = {trial.number for trial in recommender.acceptable}
    candidates = [trial for trial in members if trial.number in acceptable]
    if not candidates:
        return None, ""
    if len(snapshot.study.objectives) == 1:
        best = recommender.choose("knee", candidates)
        return best, "It is the best trial that passes the filters."
    st.subheader("Suggestion", anchor=False)
    method = st.segmented_control(
        "Suggestion", ["Knee", "By weight"], default="Knee", key="way", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    if method != "By weight":
        reason = "Of the front, it is closest to the best value of every objective."
        return recommender.choose("knee", candidates), reason
    weights = _weights(snapshot)
    heaviest = max(weights, key=lambda metric: weights[metric])
    reason = f"It has the least weighted loss; {metric_label(heaviest)} has the highest weight."
    return recommender.suggest(candidates, weights), reason


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


def _suggestion_card(snapshot: Snapshot, trial: Trial, reason: str) -> None:
    with st.container(border=True):
        st.markdown(f"**Trial {trial.number}**: {sentence(snapshot, trial)}.")
        st.caption(reason)
        if (path := snapshot.attribution(trial)) is not None:
            st.caption(f"From {escape_markdown(path_sentence(path))}.")
        if (probability := front_probability(snapshot, trial)) is not None:
            st.caption(f"{probability}.")
        st.caption(escape_markdown(snapshot.strategy_differences[trial.number]))
        with st.container(horizontal=True):
            link("trial", "Open", icon=":material/open_in_full:", trial=trial.number)
            link("export", "Export", icon=":material/ios_share:", choice=trial.number)


def _selected_card(snapshot: Snapshot, trial: Trial) -> None:
    """The trial that was clicked."""
    with st.container(border=True):
        st.subheader(f"Trial {trial.number}", anchor=False)
        state_line(snapshot, trial)
        if snapshot.baseline is not None and is_complete_result(trial):
            st.markdown(f"{capitalized(sentence(snapshot, trial))}.")
        objective_metrics(snapshot, trial)
        st.caption(escape_markdown(snapshot.strategy_differences[trial.number]))
        with st.container(horizontal=True):
            link("trial", "All details", icon=":material/open_in_full:", trial=trial.number)
            if is_complete_result(trial):
                link("export", "Export", icon=":material/ios_share:", choice=trial.number)
