"""Pictures of levers: which matter, what goes with which setting."""

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
from autotune.report.axes import Axis
from autotune.report.figures import apply_theme
from autotune.report.labels import one_line_label, wrapped_label
from autotune.report.palette import RED, SCALE, SERIES, SKY

MOST_LINES = 250


def importance_figure(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """A bar a lever for each objective, the most important lever on top."""
    levers = sorted(
        {lever for found in shares.values() for lever in found},
        key=lambda lever: sum(found.get(lever, 0.0) for found in shares.values()),
    )
    figure = go.Figure()
    for (metric, found), colour in zip(shares.items(), SERIES, strict=False):
        figure.add_bar(
            y=[one_line_label(lever) for lever in levers],
            x=[found.get(lever, 0.0) for lever in levers],
            orientation="h",
            name=one_line_label(metric_label(metric)),
            marker={"color": colour},
            hovertemplate="%{y}: %{x:.0%}",
        )
    figure.update_xaxes(tickformat=".0%")
    return apply_theme(figure, 80 + len(levers) * (12 + 12 * len(shares)), barmode="group")


def effect_figure(
    snapshot: Snapshot, found: Sequence[Effect], lever: str, metric: str
) -> go.Figure:
    """Single trials as dots, the mean of each setting with its interval."""
    members = measured_trials(snapshot.trials, metric)
    named = setting_labels(snapshot.study, members, lever)
    place = {setting: float(i) for i, setting in enumerate(e.setting for e in found)}
    dots = [t for t in members if named.label_of(t) in place]
    across = [place[named.label_of(t)] + _jitter(t) for t in dots]
    up = [float(value_of(t, metric) or 0.0) for t in dots]
    kept = decimate(across, up, 1_000)
    figure = go.Figure()
    figure.add_scatter(
        x=[across[i] for i in kept], y=[up[i] for i in kept], mode="markers", name="trials",
        marker={"color": SKY, "size": 5, "opacity": 0.45},
        hovertext=[f"trial {dots[i].number}: {format_metric(metric, up[i])}" for i in kept],
        hoverinfo="text",
    )  # fmt: skip
    figure.add_scatter(
        x=[place[e.setting] for e in found], y=[e.mean for e in found],
        mode="markers", name="mean and 95% interval",
        marker={"color": RED, "symbol": "line-ew", "size": 26, "line": {"width": 3, "color": RED}},
        error_y={
            "type": "data", "color": RED, "thickness": 2, "width": 6,
            "array": [(e.ci95[1] - e.mean) if e.ci95 else 0 for e in found],
            "arrayminus": [(e.mean - e.ci95[0]) if e.ci95 else 0 for e in found],
        },
        hovertext=[f"{wrapped_label(e.setting)}: {format_metric(metric, e.mean)}, {e.n} trials" for e in found],
        hoverinfo="text",
    )  # fmt: skip
    figure.update_xaxes(
        title=one_line_label(lever), tickvals=list(place.values()), zeroline=False,
        ticktext=[wrapped_label(setting, 10) for setting in place],
    )  # fmt: skip
    figure.update_yaxes(Axis(metric).layout())
    return apply_theme(figure, 380)


def _jitter(trial: Trial) -> float:
    """A fixed sideways shift, so that dots of one setting do not hide each other."""
    return ((trial.number * 0.6180339887) % 1.0 - 0.5) * 0.5


def interaction_figure(
    snapshot: Snapshot, cells: Sequence[Cell], first: str, second: str, metric: str
) -> go.Figure:
    """The mean for each pair of settings; pairs never tried stay blank."""
    rows = list(dict.fromkeys(cell.first for cell in cells))
    columns = list(dict.fromkeys(cell.second for cell in cells))
    mean = {(cell.first, cell.second): cell for cell in cells}
    figure = go.Figure(
        go.Heatmap(
            x=[wrapped_label(c, 14) for c in columns],
            y=[wrapped_label(r, 14) for r in rows],
            z=[[mean[r, c].mean if (r, c) in mean else None for c in columns] for r in rows],
            text=[[_cell_words(mean.get((r, c)), metric) for c in columns] for r in rows],
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


def _cell_words(cell: Cell | None, metric: str) -> str:
    return "not tried" if cell is None else f"{format_metric(metric, cell.mean)}, {cell.n} trials"


def parallel_figure(snapshot: Snapshot, members: Sequence[Trial], metric: str) -> go.Figure:
    """A line a trial over its settings and results, coloured in five ranks of ``metric``.

    Trials of the front come first, then others evenly, at most :data:`MOST_LINES`.
    """
    known = measured_trials(members, metric)
    front = {t.number for t in snapshot.front}
    rest = [t for t in known if t.number not in front]
    step = max(1, -(-len(rest) // MOST_LINES))
    drawn = [t for t in known if t.number in front] + rest[::step]
    axes = [
        *varied_levers(snapshot.study, drawn)[:10],
        *(o.metric for o in snapshot.study.objectives),
    ]
    places = [_places(snapshot, drawn, axis) for axis in axes]
    figure = go.Figure()
    ranks = _ranks(
        [float(value_of(t, metric) or 0) for t in drawn], more_is_better(snapshot.study, metric)
    )
    for rank, (name, colour) in enumerate(_RANKS):
        own = [i for i in range(len(drawn)) if ranks[i] == rank]
        if own:
            figure.add_scatter(
                x=[x for i in own for x in (*(row[i] for row in places), None)],
                y=[y for _ in own for y in (*range(len(axes)), None)],
                mode="lines",
                name=name,
                opacity=0.85 if rank == len(_RANKS) - 1 else 0.5,
                line={"color": colour, "width": 1.3},
                hoverinfo="skip",
            )
    for row, axis in enumerate(axes):
        for place, words in _ends(snapshot, drawn, axis):
            figure.add_annotation(
                x=place, y=row, text=wrapped_label(words, 9), showarrow=False, **_beside(place)
            )
    names = [wrapped_label(metric_label(axis).replace("_", " "), 12) for axis in axes]
    figure.update_yaxes(
        tickvals=list(range(len(axes))), ticktext=names, zeroline=False,
        range=[len(axes) - 0.7, -0.6], fixedrange=True,
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.36, 1.36], fixedrange=True)
    return apply_theme(figure, 60 + 58 * len(axes))


def _beside(place: float) -> dict[str, object]:
    """Where words go on an axis: beyond its ends, where no line runs, else above their place."""
    if place in (0.0, 1.0):
        return {"xanchor": "right" if place == 0 else "left", "xshift": 14 * place - 7,
                "font": {"size": 10}}  # fmt: skip
    return {"yshift": 14, "font": {"size": 10}, "bgcolor": "rgba(128,128,128,0.3)"}


_RANKS = (
    ("lowest fifth", "#4477AA"),
    ("second", "#7F93A8"),
    ("middle", "#A39F86"),
    ("fourth", "#C4AE4E"),
    ("best fifth", "#F0A202"),
)


def _ranks(values: Sequence[float], more_is_better: bool) -> list[int]:
    order = sorted(range(len(values)), key=lambda i: values[i], reverse=not more_is_better)
    ranks = [0] * len(values)
    for place, index in enumerate(order):
        ranks[index] = place * len(_RANKS) // len(values)
    return ranks


def _places(snapshot: Snapshot, drawn: Sequence[Trial], axis: str) -> list[float]:
    """Where each trial crosses an axis, 0 (left) to 1."""
    if axis in drawn[0].strategy.values:
        named = setting_labels(snapshot.study, drawn, axis)
        place = {setting: i for i, setting in enumerate(named.order)}
        top = max(len(place) - 1, 1)
        return [(place.get(named.label_of(t), 0) + 0.04 * _jitter(t)) / top for t in drawn]
    values = [float(value_of(t, axis) or 0.0) for t in drawn]
    low, span = min(values), max(values) - min(values)
    return [(value - low) / span if span else 0.5 for value in values]


def _ends(snapshot: Snapshot, drawn: Sequence[Trial], axis: str) -> list[tuple[float, str]]:
    """What is written on an axis: its settings, or the ends of its values."""
    if axis in drawn[0].strategy.values:
        order = setting_labels(snapshot.study, drawn, axis).order
        top = max(len(order) - 1, 1)
        named = [(i / top, setting) for i, setting in enumerate(order)]
        return named if len(named) <= 4 else [named[0], named[-1]]
    values = [float(value_of(t, axis) or 0.0) for t in drawn]
    return [(0.0, format_metric(axis, min(values))), (1.0, format_metric(axis, max(values)))]
