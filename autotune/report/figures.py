"""Plots that reports and the dashboard share, and those of reports.

A static figure carries its own theme; Streamlit gives an interactive one the theme of its page.
Whatever a user or a library named is escaped before Plotly reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from autotune.analysis.front import value_of
from autotune.analysis.importance import Effect
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric
from autotune.analysis.verdict import Verdict
from autotune.domain import Trial
from autotune.report.axes import Axis, error_lengths
from autotune.report.style import BLUE, INK, ORANGE, PALE, RED, SKY, wrapped_label

MAX_SINGLE_TICKS = 10
"""Trials up to which an axis of trials has a tick for each."""
MAX_MARKED_STEPS = 200
"""Steps of the hypervolume beyond which they are not marked."""


def apply_theme(
    figure: go.Figure, height: int = 320, *, static: bool = False, **layout: object
) -> go.Figure:
    """Set the common layout. ``layout`` are further settings of Plotly."""
    figure.update_layout(
        height=height,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left"},
    )
    if static:
        figure.update_layout(
            template="simple_white",
            margin={"l": 64, "r": 24, "t": 16, "b": 52},
            font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        )
    else:
        margin = {"l": 8, "r": 8, "t": 8, "b": 8}
        figure.update_layout(margin=margin, dragmode=False, datarevision=1)
        figure.update_xaxes(automargin=True)
        figure.update_yaxes(automargin=True)
    return figure.update_layout(**layout)


def growth_figure(snapshot: Snapshot, *, by_time: bool = False, static: bool = False) -> go.Figure:
    """Hypervolume after each finished trial. Only the trials that raised it are marked."""
    history = [p for p in snapshot.hypervolume_history if p.at is not None or not by_time]
    points = [history[index] for index in _step_indices([p.value for p in history])]
    marked = not static and len(points) < MAX_MARKED_STEPS
    figure = go.Figure()
    figure.add_scatter(
        x=[p.at if by_time else p.finished for p in points],
        y=[p.value for p in points],
        mode="lines+markers" if marked else "lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        marker={"size": 6, "color": SKY},
        hovertext=[f"after trial {p.number}: {p.value:.4g}" for p in points],
        hoverinfo="text",
    )
    figure.update_xaxes(title="time" if by_time else "finished trials")
    if not by_time:  # whole numbers from 0, however few
        few = len(history) <= MAX_SINGLE_TICKS
        figure.update_xaxes(tickformat="d", dtick=1 if few else None)
        figure.update_xaxes(autorangeoptions={"clipmin": 0.0})
    figure.update_yaxes(title="hypervolume", rangemode="tozero")
    return apply_theme(figure, 280 if static else 320, static=static, showlegend=False)


def _step_indices(values: Sequence[float]) -> list[int]:
    """The indices at which a rising step function has its steps, and those of its two ends."""
    steps = [i for i in range(1, len(values)) if values[i] != values[i - 1]]
    return sorted({0, *steps, len(values) - 1}) if values else []


# ----------------------------------------------------------------------------------- of reports


def front_summary_figure(snapshot: Snapshot, across: str, up: str) -> go.Figure:
    """All complete trials by two objectives, in the range of the front; a double click shows all.
    The front, the default and the knee are marked."""
    marks = [trial for trial in (snapshot.baseline, snapshot.knee) if trial is not None]
    x, y = (
        Axis(metric).zoomed([*snapshot.front, *marks], snapshot.feasible) for metric in (across, up)
    )
    figure = go.Figure()
    groups = (
        ("outside the constraints", Verdict.VIOLATING, PALE, "x-thin-open", 8),
        ("dominated", Verdict.DOMINATED, PALE, "circle", 8),
        ("on the front", Verdict.FRONT, BLUE, "circle", 11),
    )
    for name, verdict, colour, symbol, size in groups:
        members = [
            trial
            for trial in snapshot.trials
            if snapshot.verdicts[trial.number] is verdict
            and value_of(trial, across) is not None
            and value_of(trial, up) is not None
        ]
        line = {"width": 1.5 if "open" in symbol else 0, "color": colour}
        marker = {"color": colour, "symbol": symbol, "size": size, "line": line}
        figure.add_scatter(
            x=x.values(members), y=y.values(members), mode="markers", name=name, marker=marker,
            text=[_trial_label(snapshot, trial) for trial in members],
            hovertemplate="%{text}<br>%{x}, %{y}<extra></extra>",
        )  # fmt: skip
    for trial, name, colour in (
        (snapshot.baseline, snapshot.study.baseline_name, RED),
        (snapshot.knee, "the knee", ORANGE),
    ):
        if trial is not None and value_of(trial, across) is not None:
            ring = {
                "symbol": "circle-open", "size": 18, "color": colour, "line": {"width": 2.5}
            }  # fmt: skip
            figure.add_scatter(
                x=x.values([trial]), y=y.values([trial]), mode="markers", name=name, marker=ring,
                hovertemplate=f"{name}: trial {trial.number}<extra></extra>",
            )  # fmt: skip
    if not snapshot.front:
        figure.add_annotation(text="no trial is on the front yet", showarrow=False)
    figure.update_xaxes(x.layout())
    figure.update_yaxes(y.layout())
    return apply_theme(figure, 440, static=True)


def _trial_label(snapshot: Snapshot, trial: Trial) -> str:
    settings = snapshot.strategy_differences[trial.number].split(", ")
    return "<br>".join([f"trial {trial.number}", *map(wrapped_label, settings)])


def effect_summary_figure(effects: Sequence[Effect], metric: str) -> go.Figure:
    """The mean of ``metric`` for each setting of one lever, with its interval."""
    means = [effect.mean for effect in effects]
    figure = go.Figure()
    figure.add_scatter(
        x=means,
        y=[f"{wrapped_label(effect.setting)} ({effect.n})" for effect in effects],
        mode="markers",
        marker={"color": BLUE, "size": 10},
        error_x={
            "type": "data", "symmetric": False, "color": BLUE, "thickness": 1.5,
            **error_lengths(means, [effect.ci95 for effect in effects]),
        },
        text=[format_metric(metric, mean) for mean in means],
        hovertemplate="%{y}: %{text}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    figure.update_xaxes(Axis(metric).layout())
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return apply_theme(figure, 110 + 34 * len(effects), static=True)
