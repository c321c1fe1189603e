"""The plot of parallel coordinates: a line a trial through its settings and results.

Drawn as SVG: Plotly's own plot of this kind compiles code in the browser, which the headers of the
dashboard forbid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import plotly.graph_objects as go

from autotune.analysis.filters import more_is_better
from autotune.analysis.front import value_of
from autotune.analysis.importance import measured_trials, setting_labels, varied_levers
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric, metric_label
from autotune.domain import Trial
from autotune.report.figures import apply_theme
from autotune.report.style import GREY, PALE, wrapped_label

from .lever_figures import jitter

MAX_LINES = 250
MAX_AXIS_LABELS = 4
MAX_LEVERS = 10
"""Levers that have an axis."""


def parallel_figure(
    snapshot: Snapshot,
    members: Sequence[Trial],
    metric: str,
    selected: Collection[int] | None = None,
) -> go.Figure:
    """A line a trial through its settings and results, coloured by its fifth in ``metric``. Those
    that are not ``selected`` (numbers of trials, by default all) are pale.

    Contains the front, and at most :data:`MAX_LINES` other trials, spread evenly over the study.
    The points on the axes carry ``[number, axis]``, for a reader to select.
    """
    trials = _drawn_trials(snapshot, members, metric)
    axes = _axes(snapshot, trials)
    positions = [_positions(snapshot, trials, axis) for axis in axes]
    is_selected = [selected is None or trial.number in selected for trial in trials]
    figure = go.Figure()
    ranks = _feasible_ranks(snapshot, trials, metric)
    groups = [
        (name, colour, [i for i, rank in enumerate(ranks) if rank == position and is_selected[i]])
        for position, (name, colour) in enumerate([*_RANKS, _VIOLATING])
    ]
    pale = [i for i in range(len(trials)) if not is_selected[i]]
    for name, colour, indices in [("not selected", PALE, pale), *groups]:
        if indices:
            is_dotted = name == _VIOLATING[0]
            figure.add_scatter(
                x=[x for i in indices for x in (*(row[i] for row in positions), None)],
                y=[y for _ in indices for y in (*range(len(axes)), None)],
                mode="lines",
                name=name,
                opacity=_OPACITY.get(name, 0.5),
                line={"color": colour, "width": 1.3, "dash": "dot" if is_dotted else None},
                hoverinfo="skip",
            )
    figure.add_trace(_points(trials, axes, positions))
    for row, axis in enumerate(axes):
        for position, text in _axis_labels(snapshot, trials, axis):
            figure.add_annotation(
                x=position,
                y=row,
                text=wrapped_label(text, 9),
                showarrow=False,
                **_label_layout(position),
            )
    names = [wrapped_label(metric_label(axis).replace("_", " "), 12) for axis in axes]
    figure.update_yaxes(
        tickvals=list(range(len(axes))), ticktext=names, zeroline=False,
        range=[len(axes) - 0.7, -0.6], fixedrange=True,
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.36, 1.36], fixedrange=True)
    return apply_theme(figure, 60 + 58 * len(axes), dragmode="select")


def selected_numbers(brushes: Mapping[int, Collection[int]]) -> frozenset[int] | None:
    """The trials that are selected on every axis of ``brushes``; ``None`` if there is none."""
    if not brushes:
        return None
    first, *others = map(frozenset, brushes.values())
    return first.intersection(*others)


def _drawn_trials(snapshot: Snapshot, members: Sequence[Trial], metric: str) -> list[Trial]:
    measured = measured_trials(members, metric)
    front = {t.number for t in snapshot.front}
    others = [t for t in measured if t.number not in front]
    step = max(1, -(-len(others) // MAX_LINES))
    return [t for t in measured if t.number in front] + others[::step]


def _axes(snapshot: Snapshot, trials: Sequence[Trial]) -> list[str]:
    levers = varied_levers(snapshot.study, trials)[:MAX_LEVERS]
    return [*levers, *(objective.metric for objective in snapshot.study.objectives)]


def _points(
    trials: Sequence[Trial], axes: Sequence[str], positions: Sequence[Sequence[float]]
) -> go.Scatter:
    """Small marks where the lines cross the axes. Plotly selects points, not lines."""
    indices = range(len(trials))
    style = {"marker": {"opacity": 0.5}}
    return go.Scatter(
        x=[row[i] for row in positions for i in indices],
        y=[axis for axis in range(len(axes)) for _ in indices],
        customdata=[[trials[i].number, axis] for axis in range(len(axes)) for i in indices],
        mode="markers",
        marker={"size": 4, "color": GREY, "opacity": 0.5},
        selected=style,
        unselected=style,
        hovertext=[f"trial {trials[i].number}" for _ in axes for i in indices],
        hoverinfo="text",
        showlegend=False,
    )


def _label_layout(position: float) -> dict[str, object]:
    """A label stands outside of the ends of its axis, where there are no lines, else above it."""
    if position in (0.0, 1.0):
        return {"xanchor": "right" if position == 0 else "left", "xshift": 24 * position - 12,
                "font": {"size": 10}}  # fmt: skip
    return {"yshift": 14, "font": {"size": 10, "color": "white"}, "bgcolor": "#555555"}


_RANKS = (
    ("lowest fifth", "#4477AA"),
    ("second", "#7F93A8"),
    ("middle", "#A39F86"),
    ("fourth", "#C4AE4E"),
    ("best fifth", "#F0A202"),
)


_VIOLATING = ("violates a constraint", "#888888")
_OPACITY = {"not selected": 0.25, "best fifth": 0.85}
VIOLATING = len(_RANKS)
"""The rank of trials that violate a constraint, which are the best at nothing."""


def _feasible_ranks(snapshot: Snapshot, trials: Sequence[Trial], metric: str) -> list[int]:
    """The fifth of each trial among the feasible ones, or :data:`VIOLATING`."""
    feasible = {trial.number for trial in snapshot.feasible}
    members = [trial for trial in trials if trial.number in feasible]
    values = [float(value_of(trial, metric) or 0.0) for trial in members]
    ranks = _ranks(values, more_is_better(snapshot.study, metric))
    by_number = {trial.number: rank for trial, rank in zip(members, ranks, strict=True)}
    return [by_number.get(trial.number, VIOLATING) for trial in trials]


def _ranks(values: Sequence[float], more_is_better: bool) -> list[int]:
    order = sorted(range(len(values)), key=lambda i: values[i], reverse=not more_is_better)
    ranks = [0] * len(values)
    for position, index in enumerate(order):
        ranks[index] = position * len(_RANKS) // len(values)
    return ranks


def _positions(snapshot: Snapshot, trials: Sequence[Trial], axis: str) -> list[float]:
    """The position of each trial on an axis, 0 (left) to 1."""
    if axis in trials[0].strategy.values:
        labels = setting_labels(snapshot.study, trials, axis)
        index = {setting: i for i, setting in enumerate(labels.order)}
        top = max(len(index) - 1, 1)
        return [(index.get(labels.label_of(t), 0) + 0.04 * jitter(t)) / top for t in trials]
    values = [float(value_of(t, axis) or 0.0) for t in trials]
    low, span = min(values), max(values) - min(values)
    return [(value - low) / span if span else 0.5 for value in values]


def _axis_labels(snapshot: Snapshot, trials: Sequence[Trial], axis: str) -> list[tuple[float, str]]:
    """Positions and texts of the labels of an axis: its settings, or its extreme values."""
    if axis in trials[0].strategy.values:
        order = setting_labels(snapshot.study, trials, axis).order
        top = max(len(order) - 1, 1)
        labels = [(i / top, setting) for i, setting in enumerate(order)]
        return labels if len(labels) <= MAX_AXIS_LABELS else [labels[0], labels[-1]]
    values = [float(value_of(t, axis) or 0.0) for t in trials]
    return [(0.0, format_metric(axis, min(values))), (1.0, format_metric(axis, max(values)))]
