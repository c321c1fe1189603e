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
)
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric, metric_label
from autotune.domain import Trial
from autotune.report.axes import Axis, error_lengths
from autotune.report.figures import apply_theme
from autotune.report.style import RED, SCALE, SERIES, SKY, one_line_label, wrapped_label

MAX_DOTS = 1_000


def importance_figure(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """The importance of each lever for each objective, the most important lever on top."""
    levers = sorted(
        {lever for by_lever in shares.values() for lever in by_lever},
        key=lambda lever: -sum(by_lever.get(lever, 0.0) for by_lever in shares.values()),
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
    figure.update_yaxes(autorange="reversed")
    return apply_theme(figure, 80 + len(levers) * (12 + 12 * len(shares)), barmode="group")


def effect_figure(
    snapshot: Snapshot, effects: Sequence[Effect], lever: str, metric: str
) -> go.Figure:
    """The mean of each setting with its interval, and single trials as dots."""
    members = measured_trials(snapshot.trials, metric)
    labels = setting_labels(snapshot.study, members, lever)
    position = {effect.setting: float(i) for i, effect in enumerate(effects)}
    trials = [t for t in members if labels.label_of(t) in position]
    across = [position[labels.label_of(t)] + jitter(t) for t in trials]
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


def jitter(trial: Trial) -> float:
    """A fixed shift, so that marks of one setting do not hide each other."""
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
