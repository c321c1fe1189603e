"""Plots of levers: their importance, and the results of their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from autotune.analysis.decimate import decimate
from autotune.analysis.filters import more_is_better
from autotune.analysis.front import value_of
from autotune.analysis.importance import (
    Cell,
    Effect,
    measured_trials,
    setting_labels,
    varied_levers,
)
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric, metric_label
from autotune.domain import Trial
from autotune.report.axes import Axis, error_lengths
from autotune.report.figures import apply_theme
from autotune.report.style import RED, SCALE, SERIES, SKY, one_line_label, wrapped_label

MAX_LINES = 250
MAX_DOTS = 1_000
MAX_AXIS_LABELS = 4
MAX_LEVERS = 10
"""Levers that have an axis in the plot of settings and results."""


def importance_figure(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """The importance of each lever for each objective, the most important lever on top."""
    levers = sorted(
        {lever for by_lever in shares.values() for lever in by_lever},
        key=lambda lever: sum(by_lever.get(lever, 0.0) for by_lever in shares.values()),
    )
    figure = go.Figure()
    for (metric, by_lever), colour in zip(shares.items(), SERIES, strict=False):
        figure.add_bar(
            y=[one_line_label(lever) for lever in levers],
            x=[by_lever.get(lever, 0.0) for lever in levers],
            orientation="h",
            name=one_line_label(metric_label(metric)),
            marker={"color": colour},
            hovertemplate="%{y}: %{x:.0%}",
        )
    figure.update_xaxes(tickformat=".0%")
    return apply_theme(figure, 80 + len(levers) * (12 + 12 * len(shares)), barmode="group")


def effect_figure(
    snapshot: Snapshot, effects: Sequence[Effect], lever: str, metric: str
) -> go.Figure:
    """The mean of each setting with its interval, and single trials as dots."""
    members = measured_trials(snapshot.trials, metric)
    labels = setting_labels(snapshot.study, members, lever)
    position = {effect.setting: float(i) for i, effect in enumerate(effects)}
    trials = [t for t in members if labels.label_of(t) in position]
    across = [position[labels.label_of(t)] + _jitter(t) for t in trials]
    up = [float(value_of(t, metric) or 0.0) for t in trials]
    indices = decimate(across, up, MAX_DOTS)
    figure = go.Figure()
    figure.add_scatter(
        x=[across[i] for i in indices], y=[up[i] for i in indices], mode="markers", name="trials",
        marker={"color": SKY, "size": 5, "opacity": 0.45},
        hovertext=[f"trial {trials[i].number}: {format_metric(metric, up[i])}" for i in indices],
        hoverinfo="text",
    )  # fmt: skip
    figure.add_scatter(
        x=[position[e.setting] for e in effects], y=[e.mean for e in effects],
        mode="markers", name="mean and 95% interval",
        marker={"color": RED, "symbol": "line-ew", "size": 26, "line": {"width": 3, "color": RED}},
        error_y={
            "type": "data", "color": RED, "thickness": 2, "width": 6,
            **error_lengths([e.mean for e in effects], [e.ci95 for e in effects]),
        },
        hovertext=[f"{wrapped_label(e.setting)}: {_mean_label(e, metric)}" for e in effects],
        hoverinfo="text",
    )  # fmt: skip
    figure.update_xaxes(
        title=one_line_label(lever), tickvals=list(position.values()), zeroline=False,
        ticktext=[wrapped_label(setting, 10) for setting in position],
    )  # fmt: skip
    figure.update_yaxes(Axis(metric).layout())
    return apply_theme(figure, 380)


def _jitter(trial: Trial) -> float:
    """A fixed horizontal shift, so that dots of one setting do not hide each other."""
    return ((trial.number * 0.6180339887) % 1.0 - 0.5) * 0.5


def interaction_figure(
    snapshot: Snapshot, cells: Sequence[Cell], first: str, second: str, metric: str
) -> go.Figure:
    """The mean of each pair of settings. Pairs without a trial are blank."""
    rows = list(dict.fromkeys(cell.first for cell in cells))
    columns = list(dict.fromkeys(cell.second for cell in cells))
    mean = {(cell.first, cell.second): cell for cell in cells}
    figure = go.Figure(
        go.Heatmap(
            x=[wrapped_label(c, 14) for c in columns],
            y=[wrapped_label(r, 14) for r in rows],
            z=[[mean[r, c].mean if (r, c) in mean else None for c in columns] for r in rows],
            text=[[_mean_label(mean.get((r, c)), metric) for c in columns] for r in rows],
            hoverinfo="text",
            colorscale=SCALE,
            colorbar={"thickness": 10, **Axis(metric).tick_format},
            reversescale=not more_is_better(snapshot.study, metric),
            xgap=2,
            ygap=2,
        )
    )
    figure.update_xaxes(title=one_line_label(second), type="category", showgrid=False)
    figure.update_yaxes(title=one_line_label(first), type="category", showgrid=False)
    return apply_theme(figure, 340)


def _mean_label(mean: Effect | Cell | None, metric: str) -> str:
    return "no trial" if mean is None else f"{format_metric(metric, mean.mean)}, {mean.n} trials"


def parallel_figure(snapshot: Snapshot, members: Sequence[Trial], metric: str) -> go.Figure:
    """A line a trial through its settings and results, coloured by its fifth in ``metric``.

    Contains the front, and at most :data:`MAX_LINES` other trials, spread evenly over the study.
    """
    measured = measured_trials(members, metric)
    front = {t.number for t in snapshot.front}
    others = [t for t in measured if t.number not in front]
    step = max(1, -(-len(others) // MAX_LINES))
    selected = [t for t in measured if t.number in front] + others[::step]
    levers = varied_levers(snapshot.study, selected)[:MAX_LEVERS]
    axes = [*levers, *(objective.metric for objective in snapshot.study.objectives)]
    positions = [_positions(snapshot, selected, axis) for axis in axes]
    figure = go.Figure()
    ranks = _feasible_ranks(snapshot, selected, metric)
    for rank, (name, colour) in enumerate([*_RANKS, _VIOLATING]):
        indices = [i for i in range(len(selected)) if ranks[i] == rank]
        if indices:
            figure.add_scatter(
                x=[x for i in indices for x in (*(row[i] for row in positions), None)],
                y=[y for _ in indices for y in (*range(len(axes)), None)],
                mode="lines",
                name=name,
                opacity=0.85 if rank == len(_RANKS) - 1 else 0.5,
                line={"color": colour, "width": 1.3, "dash": "dot" if rank == VIOLATING else None},
                hoverinfo="skip",
            )
    for row, axis in enumerate(axes):
        for position, text in _axis_labels(snapshot, selected, axis):
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
    return apply_theme(figure, 60 + 58 * len(axes))


def _label_layout(position: float) -> dict[str, object]:
    """A label stands outside of the ends of its axis, where there are no lines, else above it."""
    if position in (0.0, 1.0):
        return {"xanchor": "right" if position == 0 else "left", "xshift": 14 * position - 7,
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
        return [(index.get(labels.label_of(t), 0) + 0.04 * _jitter(t)) / top for t in trials]
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
