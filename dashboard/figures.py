"""Plots of one trial, of a search, and of several studies.

Whatever a user or a library named is escaped before Plotly reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autotune.analysis.front import value_of
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric, metric_label
from autotune.analysis.timeline import Rung, TimelineBar
from autotune.domain import CurvePoint, Measurement, State, Trial
from autotune.domain.metrics import MetricKind, get_metric
from autotune.report.axes import Axis
from autotune.report.figures import apply_theme
from autotune.report.style import (
    GREY,
    ORANGE,
    SERIES,
    SKY,
    STATE_COLOUR,
    SYMBOLS,
    one_line_label,
    wrapped_label,
)

from .front_traces import interval_traces

MAX_BARS = 2_000
CURVE_KINDS = (MetricKind.SHARE, MetricKind.CORRELATION, MetricKind.LOSS)
"""Metrics that change over a training run and share an axis."""


# ------------------------------------------------------------------------------------- one trial


def samples_figure(measurement: Measurement) -> go.Figure:
    """Raw samples in order. Samples of the warm-up are drawn, but do not count."""
    warmup, steady = measurement.warmup, measurement.samples
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(len(warmup))), y=list(warmup), mode="markers", name="warm-up, not counted",
        marker={"color": GREY, "symbol": "circle-open", "size": 9},
    )  # fmt: skip
    figure.add_scatter(
        x=list(range(len(warmup), len(warmup) + len(steady))), y=list(steady),
        mode="markers", name="steady state", marker={"color": SKY, "size": 9},
    )  # fmt: skip
    figure.add_hline(measurement.value, line={"color": ORANGE, "width": 2}, annotation_text="value")
    if measurement.ci95 is not None:
        figure.add_hrect(*measurement.ci95, fillcolor=ORANGE, opacity=0.15, line_width=0)
    axis = Axis(measurement.name)
    figure.update_yaxes(title=one_line_label(axis.title))
    figure.update_xaxes(title="window")
    return apply_theme(figure, 280)


def has_curve(curve: Sequence[CurvePoint]) -> bool:
    """Whether :func:`curve_figure` has anything to draw."""
    return any(
        point.loss is not None or any(get_metric(n).kind in CURVE_KINDS for n in point.metrics)
        for point in curve
    )


def curve_figure(curve: Sequence[CurvePoint], best_step: int | None = None) -> go.Figure:
    """Training loss and validation scores by optimizer step: losses on the left axis, shares on the
    right. Speeds, sizes and prices have other units, and are among the measurements. A line marks
    ``best_step``, that of the evaluation whose weights count."""
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    losses = [(p.step, p.loss) for p in curve if p.loss is not None]
    figure.add_scatter(
        x=[step for step, _ in losses], y=[loss for _, loss in losses],
        mode="lines+markers", name="training loss", line={"color": SKY},
    )  # fmt: skip
    measured = sorted({name for point in curve for name in point.metrics})
    names = [name for name in measured if get_metric(name).kind in CURVE_KINDS]
    has_correlation = any(get_metric(name).kind is MetricKind.CORRELATION for name in names)
    styles = zip(cycle(SERIES[1:]), cycle(SYMBOLS[1:]), strict=True)
    for name, (colour, symbol) in zip(names, styles, strict=False):
        points = [(p.step, p.metrics[name]) for p in curve if name in p.metrics]
        figure.add_scatter(
            x=[step for step, _ in points], y=[score for _, score in points],
            mode="lines+markers", name=one_line_label(metric_label(name)),
            secondary_y=get_metric(name).is_ratio,
            line={"color": colour, "dash": "dot"}, marker={"symbol": symbol, "size": 9},
        )  # fmt: skip
    if best_step is not None:
        line = {"color": ORANGE, "dash": "dash"}
        figure.add_vline(best_step, line=line, annotation_text="best evaluation")
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="loss", secondary_y=False)
    figure.update_yaxes(
        title="validation scores",
        showgrid=False,
        tickmode="auto",
        tickformat="~g",
        autorangeoptions={"clipmin": -1.0 if has_correlation else 0.0, "clipmax": 1.0},
        secondary_y=True,
    )
    return apply_theme(figure)


def memory_figure(memory: Sequence[tuple[float, float]]) -> go.Figure:
    """Memory of the processes of a trial over time."""
    figure = go.Figure()
    figure.add_scatter(
        x=[seconds for seconds, _ in memory], y=[gib for _, gib in memory],
        mode="lines", fill="tozeroy", line={"color": SKY}, name="memory",
    )  # fmt: skip
    figure.update_xaxes(title="seconds")
    figure.update_yaxes(title="GiB", rangemode="tozero")
    return apply_theme(figure, showlegend=False)


# ------------------------------------------------------------------------------------ the search


def states_figure(counts: Mapping[State, int]) -> go.Figure:
    """The number of trials in each state."""
    states = [state for state, count in counts.items() if count]
    figure = go.Figure()
    figure.add_bar(
        y=[state.value for state in states],
        x=[counts[state] for state in states],
        orientation="h",
        text=[str(counts[state]) for state in states],
        marker={"color": [STATE_COLOUR[state] for state in states]},
        hoverinfo="skip",
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="trials")
    return apply_theme(figure, 90 + 34 * max(len(states), 2), showlegend=False)


def rungs_figure(rungs: Sequence[Rung]) -> go.Figure:
    """How many trials passed each rung and how many were stopped there."""
    names = [
        f"{rung.share:.0%} of the steps" if rung.share else "before training" for rung in rungs
    ]
    figure = go.Figure()
    for name, counts, colour in (
        (
            "continued",
            [rung.reached - rung.stopped for rung in rungs],
            STATE_COLOUR[State.COMPLETE],
        ),
        ("stopped", [rung.stopped for rung in rungs], STATE_COLOUR[State.PRUNED]),
    ):
        figure.add_bar(
            y=names, x=counts, orientation="h", name=name, hoverinfo="skip",
            text=[str(count) if count else "" for count in counts], marker={"color": colour},
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="trials")
    return apply_theme(figure, 130 + 34 * max(len(rungs), 2), barmode="stack")


def timeline_figure(bars: Sequence[TimelineBar]) -> go.Figure:
    """A bar a trial, in one row for each worker. At most the latest :data:`MAX_BARS` bars."""
    latest_bars = list(bars)[-MAX_BARS:]
    lanes = 1 + max(bar.lane for bar in latest_bars)
    figure = go.Figure()
    for state in State:
        in_state = [bar for bar in latest_bars if bar.trial.state is state]
        if in_state:
            figure.add_bar(
                base=[bar.start for bar in in_state],
                x=[(bar.end - bar.start).total_seconds() * 1000 for bar in in_state],
                y=[f"worker {bar.lane + 1}" for bar in in_state],
                orientation="h",
                name=state.value,
                marker={"color": STATE_COLOUR[state], "line": {"width": 0.5, "color": GREY}},
                hovertext=[_bar_label(bar) for bar in in_state],
                hoverinfo="text",
            )
    figure.update_xaxes(type="date")
    workers = [f"worker {lane + 1}" for lane in range(lanes)]
    figure.update_yaxes(categoryorder="array", categoryarray=workers[::-1])
    return apply_theme(figure, 110 + 44 * lanes, barmode="overlay")


def _bar_label(bar: TimelineBar) -> str:
    seconds = (bar.end - bar.start).total_seconds()
    label = f"trial {bar.trial.number}, {bar.trial.state.value}, {seconds:.0f} s"
    return label + (f"<br>{wrapped_label(bar.trial.reason)}" if bar.trial.reason else "")


# ----------------------------------------------------------------------------------- comparing


@dataclass(frozen=True)
class StudyFront:
    """The front of a study in two metrics, from left to right, and its default if it measured
    both."""

    name: str
    snapshot: Snapshot
    x: Axis
    y: Axis
    members: list[Trial]
    default: list[Trial]

    @classmethod
    def from_snapshot(
        cls, name: str, snapshot: Snapshot, x: Axis, y: Axis, *, relative: bool
    ) -> StudyFront:
        pair = (x.metric, y.metric)
        members = snapshot.front_of(snapshot.feasible, pair)
        default = [] if snapshot.baseline is None else [snapshot.baseline]
        if relative:
            x = replace(x, default=value_of(snapshot.baseline, x.metric) or None)
            y = replace(y, default=value_of(snapshot.baseline, y.metric) or None)
            if x.default is None or y.default is None:  # there is nothing to relate to
                members, default = [], []
        return cls(
            name, snapshot, x, y,
            members=sorted(members, key=lambda t: value_of(t, x.metric) or 0.0),
            default=[t for t in default if all(value_of(t, m) is not None for m in pair)],
        )  # fmt: skip

    def labels(self, name: str, trials: Sequence[Trial]) -> list[str]:
        return [_comparison_label(name, t, (self.x.metric, self.y.metric)) for t in trials]


def compare_figure(
    snapshots: Mapping[str, Snapshot], x: Axis, y: Axis, *, relative: bool
) -> go.Figure:
    """The fronts of several studies in two metrics, each with its default. Intervals are drawn as
    far as they fit the range of these."""
    fronts = [
        StudyFront.from_snapshot(name, s, x, y, relative=relative) for name, s in snapshots.items()
    ]
    marks = [(front, [*front.members, *front.default]) for front in fronts]
    if relative:
        x, y = replace(x, default=1.0), replace(y, default=1.0)
    x = x.zoomed_to([value for front, trials in marks for value in front.x.values(trials)])
    y = y.zoomed_to([value for front, trials in marks for value in front.y.values(trials)])
    figure = go.Figure()
    for front, colour, symbol in zip(fronts, SERIES, SYMBOLS, strict=False):
        limited_x, limited_y = replace(front.x, limits=x.limits), replace(front.y, limits=y.limits)
        for trace in interval_traces(front.snapshot, limited_x, limited_y, front.members):
            figure.add_trace(trace | {"showlegend": False})
        figure.add_scatter(
            x=front.x.values(front.members), y=front.y.values(front.members),
            mode="lines+markers", name=one_line_label(front.name),
            line={"color": colour, "width": 2},
            marker={"symbol": symbol, "size": 10, "color": colour},
            hovertext=front.labels(front.name, front.members), hoverinfo="text",
        )  # fmt: skip
        name = f"{front.name}, default"
        figure.add_scatter(
            x=front.x.values(front.default), y=front.y.values(front.default), mode="markers",
            name=one_line_label(name), showlegend=False,
            marker={"symbol": "diamond-open", "size": 14, "color": colour},
            hovertext=front.labels(name, front.default), hoverinfo="text",
        )  # fmt: skip
    figure.update_xaxes(x.layout())
    figure.update_yaxes(y.layout())
    return apply_theme(figure, 460)


def _comparison_label(name: str, trial: Trial, metrics: tuple[str, str]) -> str:
    lines = [f"<b>{wrapped_label(name)}</b>, trial {trial.number}"]
    for metric in metrics:
        value = format_metric(metric, trial.metric(metric))
        lines.append(wrapped_label(f"{metric_label(metric)} {value}"))
    return "<br>".join(lines)
