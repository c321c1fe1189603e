"""The plots of a report."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from autotune.analysis.front import value_of
from autotune.analysis.importance import Effect
from autotune.analysis.snapshot import Snapshot, Verdict
from autotune.analysis.text import format_metric
from autotune.domain import Trial
from autotune.domain.metrics import METRICS

INK, PALE, BLUE, ORANGE, RED = "#24292f", "#a9b1bb", "#0072B2", "#E69F00", "#D55E00"


def label(metric: str) -> str:
    """A metric as an axis names it."""
    known = METRICS.get(metric)
    if known is None:
        return metric
    return known.label if known.unit == "ratio" else f"{known.label} ({known.unit})"


def apply_theme(figure: go.Figure, height: int = 380) -> go.Figure:
    """The look that all plots share: white, thin lines, the data in front."""
    figure.update_layout(
        template="simple_white",
        height=height,
        margin={"l": 64, "r": 24, "t": 16, "b": 52},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left"},
    )
    return figure


def front_figure(snapshot: Snapshot, across: str, up: str) -> go.Figure:
    """All complete trials in two objectives; the front, the default and the knee stand out."""
    figure = go.Figure()
    front = {trial.number for trial in snapshot.front}
    groups = (
        ("outside the constraints", [Verdict.OUTSIDE], PALE, "x-thin-open", 8),
        ("dominated", [Verdict.DOMINATED], PALE, "circle", 8),
        ("on the front", [Verdict.FRONT], BLUE, "circle", 11),
    )
    for name, verdicts, colour, symbol, size in groups:
        members = [
            trial
            for trial in snapshot.trials
            if snapshot.verdicts[trial.number] in verdicts
            and value_of(trial, across) is not None
            and value_of(trial, up) is not None
        ]
        if name == "on the front":
            members.sort(key=lambda trial: value_of(trial, across) or 0.0)
        figure.add_trace(_marks(snapshot, members, across, up, name, colour, symbol, size))
    for trial, name, colour in (
        (snapshot.baseline, "the default", RED),
        (snapshot.knee, "the knee", ORANGE),
    ):
        if trial is not None and value_of(trial, across) is not None:
            figure.add_trace(_ring(trial, across, up, name, colour))
    if not front:
        figure.add_annotation(text="no trial is on the front yet", showarrow=False)
    figure.update_xaxes(title=label(across), **_ticks(across))
    figure.update_yaxes(title=label(up), **_ticks(up))
    return apply_theme(figure, 440)


def _ticks(metric: str) -> dict[str, str]:
    """How numbers stand on an axis: shares as per cent, dollars in full."""
    unit = METRICS[metric].unit if metric in METRICS else ""
    if unit.startswith("USD"):
        return {"tickprefix": "$", "exponentformat": "none"}
    return {"tickformat": ".0%"} if unit == "ratio" else {}


def _marks(
    snapshot: Snapshot,
    members: Sequence[Trial],
    across: str,
    up: str,
    name: str,
    colour: str,
    symbol: str,
    size: int,
) -> go.Scatter:
    return go.Scatter(
        x=[value_of(trial, across) for trial in members],
        y=[value_of(trial, up) for trial in members],
        mode="markers",
        name=name,
        marker={
            "color": colour,
            "symbol": symbol,
            "size": size,
            "line": {"width": 1.5 if "open" in symbol else 0, "color": colour},
        },
        text=[
            f"trial {t.number}<br>{snapshot.strategy_differences[t.number].replace(', ', '<br>')}"
            for t in members
        ],
        hovertemplate="%{text}<br>%{x}, %{y}<extra></extra>",
    )


def _ring(trial: Trial, across: str, up: str, name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[value_of(trial, across)],
        y=[value_of(trial, up)],
        mode="markers",
        name=name,
        marker={
            "symbol": "circle-open", "size": 18, "color": colour, "line": {"width": 2.5}
        },
        hovertemplate=f"{name}: trial {trial.number}<extra></extra>",
    )  # fmt: skip


def effect_figure(effects: Sequence[Effect], metric: str) -> go.Figure:
    """The mean of ``metric`` for each setting of one lever, with its interval."""
    means = [effect.mean for effect in effects]
    ends = [effect.ci95 or (effect.mean, effect.mean) for effect in effects]
    figure = go.Figure(
        go.Scatter(
            x=means,
            y=[f"{effect.setting} ({effect.n})" for effect in effects],
            mode="markers",
            marker={"color": BLUE, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - mean for (_, high), mean in zip(ends, means, strict=True)],
                "arrayminus": [mean - low for (low, _), mean in zip(ends, means, strict=True)],
                "color": BLUE,
                "thickness": 1.5,
            },
            text=[format_metric(metric, mean) for mean in means],
            hovertemplate="%{y}: %{text}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_xaxes(title=label(metric), **_ticks(metric))
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return apply_theme(figure, 110 + 34 * len(effects))


def growth_figure(snapshot: Snapshot) -> go.Figure:
    """How the front has grown: hypervolume after each finished trial."""
    history = snapshot.hypervolume_history
    figure = go.Figure(
        go.Scatter(
            x=list(range(1, len(history) + 1)),
            y=[growth.value for growth in history],
            mode="lines",
            line={"color": BLUE, "shape": "hv", "width": 2},
            hovertemplate="after %{x} trials: %{y:.4f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="finished trials")
    figure.update_yaxes(title="hypervolume", rangemode="tozero")
    return apply_theme(figure, 280)
