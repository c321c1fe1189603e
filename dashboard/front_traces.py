"""The traces of the plot of the front: trials as marks, intervals, rings and the front line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from autotune.analysis.decimate import decimate
from autotune.analysis.front import value_of
from autotune.analysis.intervals import figure_interval
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import (
    format_interval,
    format_metric,
    format_ratio_to_default,
    metric_label,
)
from autotune.domain import State, Trial
from autotune.report.axes import BAR_COLOUR, Axis, Ends
from autotune.report.style import (
    GREEN,
    PINK,
    RED,
    SCALE,
    SKY,
    STATE_COLOUR,
    STATE_SYMBOL,
    wrapped_label,
)

from .text import test_score

MAX_DOMINATED, MAX_VIOLATING, MAX_IN_STATUS_ROW, MAX_INTERVALS = 120, 40, 20, 40
"""Marks sent to the browser. More are hard to tell apart and slow to draw."""
MAX_DOMINATED_3D = 1_000
"""The same in three dimensions, which the GPU draws."""
PALE_BAR_COLOUR = "rgba(128,128,128,0.22)"
Trace = dict[str, Any]
"""A trace as Plotly's JavaScript reads it. Plotly's Python classes validate each setting, which is
slow."""


@dataclass(frozen=True)
class View:
    """What to draw: axes, the trials that pass the filters, and the marked trials.

    ``line`` is the front of the two metrics shown, which need not be all objectives.
    """

    x: Axis
    y: Axis
    colour: Axis | None
    dominated: Sequence[Trial]
    violating: Sequence[Trial]
    front: Sequence[Trial]
    line: Sequence[Trial] = ()
    suggested: Trial | None = None
    selected: Trial | None = None
    bright_is_low: bool = False


def plane_traces(snapshot: Snapshot, view: View) -> list[Trace]:
    """The traces of two metrics. Those without a point are left out."""
    dominated = _subsample(snapshot, view, view.dominated, MAX_DOMINATED)
    traces = [
        *([_legend_mark(view, "dominated", 7, 0.5)] if view.dominated else []),
        *([_legend_mark(view, "front", 12, 1.0)] if view.front else []),
        _marks(snapshot, view, "dominated", dominated, size=7, opacity=0.4),
        _violating(snapshot, view),
        _front_line(view),
        _marks(snapshot, view, "front", view.front, size=12, opacity=1.0),
        *_intervals(snapshot, view),
    ]
    confirmed = [t for t in view.front if t.number in snapshot.confirmed]
    rings = (
        ("confirmed", confirmed, "circle-open", 19, GREEN),
        ("default", _as_list(snapshot.baseline), "diamond", 14, RED),
        ("suggested", _as_list(view.suggested), "star-open", 26, RED),
        ("selected", _as_list(view.selected), "square-open", 24, PINK),
    )
    traces += [_ring(snapshot, view, *ring) for ring in rings]
    return [trace for trace in traces if trace["x"]]


def space_traces(snapshot: Snapshot, view: View) -> list[Trace]:
    """The traces of three metrics."""
    assert view.colour is not None
    many = _subsample(snapshot, view, view.dominated, MAX_DOMINATED_3D)
    default, suggested = _as_list(snapshot.baseline), _as_list(view.suggested)
    groups = (
        ("dominated", many, 0.35, {"size": 3, **_marker_colour(view, many)}),
        ("front", view.front, 1.0, {"size": 6, **_marker_colour(view, view.front)}),
        ("default", default, 1.0, {"size": 8, "color": RED, "symbol": "diamond"}),
        ("suggested", suggested, 1.0, {"size": 14, "color": RED, "symbol": "circle-open"}),
    )
    return [
        {
            "type": "scatter3d",
            "x": view.x.values(trials),
            "y": view.y.values(trials),
            "z": view.colour.values(trials),
            "mode": "markers",
            "name": name,
            "opacity": opacity,
            "marker": marker,
            "showlegend": "coloraxis" not in marker,
            **_hover_texts(snapshot, trials),
        }
        for name, trials, opacity, marker in groups
        if trials
    ]


def status_row(snapshot: Snapshot, state: State) -> Trace:
    """The trials in a state without a result, by number."""
    trials = snapshot.by_state[state]
    trials = trials[:: -(-len(trials) // MAX_IN_STATUS_ROW)]
    return _scatter(
        x=[t.number for t in trials],
        y=[state.value] * len(trials),
        xaxis="x2",
        yaxis="y2",
        showlegend=False,
        marker={"symbol": STATE_SYMBOL[state], "color": STATE_COLOUR[state], "size": 8},
        **_hover_texts(snapshot, trials),
    )


def _as_list(trial: Trial | None) -> list[Trial]:
    return [] if trial is None else [trial]


def _scatter(**settings: object) -> Trace:
    return {"type": "scatter", "mode": "markers", **settings}


def _legend_mark(view: View, name: str, size: int, opacity: float) -> Trace:
    """A mark for the legend only, which cannot show a colour scale."""
    marker = {
        "size": size,
        "color": SKY if view.colour is None else SCALE[2],
        "line": {"width": 1, "color": SCALE[1]},
    }
    return _scatter(x=[None], y=[None], name=name, opacity=opacity, marker=marker)


def _subsample(
    snapshot: Snapshot, view: View, trials: Sequence[Trial], max_trials: int
) -> list[Trial]:
    """At most ``max_trials`` trials, without those that others hide."""
    across = snapshot.metric_values(view.x.metric)
    up = snapshot.metric_values(view.y.metric)
    drawable = [t for t in trials if t.number in across and t.number in up]
    xs, ys = [across[t.number] for t in drawable], [up[t.number] for t in drawable]
    return [drawable[index] for index in decimate(xs, ys, max_trials)]


def _drawable(view: View, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that measured both metrics."""
    return [
        t
        for t in trials
        if value_of(t, view.x.metric) is not None and value_of(t, view.y.metric) is not None
    ]


def _marks(
    snapshot: Snapshot, view: View, name: str, trials: Sequence[Trial], *,
    size: int, opacity: float,
) -> Trace:  # fmt: skip
    trials = _drawable(view, trials)
    line = {"width": 1, "color": "rgba(128,128,128,0.8)"}
    return _scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        name=name,
        showlegend=False,
        opacity=opacity,
        marker={"size": size, "line": line, **_marker_colour(view, trials)},
        **_hover_texts(snapshot, trials),
    )


def _intervals(snapshot: Snapshot, view: View) -> list[Trace]:
    """The 95% intervals of the front. If it has more than :data:`MAX_INTERVALS` trials, only those
    of the front line."""
    trials = _drawable(view, view.front if len(view.front) <= MAX_INTERVALS else view.line)
    trials = trials[:: -(-len(trials) // MAX_INTERVALS) or 1]
    return interval_traces(snapshot, view.x, view.y, trials)


def interval_traces(snapshot: Snapshot, x: Axis, y: Axis, trials: Sequence[Trial]) -> list[Trace]:
    """The 95% intervals of ``trials``, from their marks. Those that go on beyond the range of the
    plot are pale, so that they do not hide marks, and have arrows at its edges."""
    across, up = (
        axis.intervals([snapshot.replicates.estimate(t, axis.metric) for t in trials])
        for axis in (x, y)
    )
    plane = x, y
    return [
        _bars(plane, trials, across, up, are_beyond=False),
        _bars(plane, trials, across, up, are_beyond=True),
        _arrows(plane, trials, across, up),
    ]


def _bars(
    plane: tuple[Axis, Axis], trials: Sequence[Trial], across: Sequence[Ends | None],
    up: Sequence[Ends | None], *, are_beyond: bool,
) -> Trace:  # fmt: skip
    """The error bars within the range of the plot, or those that go on beyond it."""
    colour = PALE_BAR_COLOUR if are_beyond else BAR_COLOUR
    bars = {
        name: axis.error_bars(
            trials, [i if axis.is_beyond(i) is are_beyond else None for i in intervals], colour
        )
        for name, axis, intervals in zip(("error_x", "error_y"), plane, (across, up), strict=True)
    }
    return _scatter(
        x=plane[0].values(trials),
        y=plane[1].values(trials),
        name=f"95% interval{' beyond the plot' if are_beyond else ''}",
        showlegend=False,
        marker={"size": 1, "opacity": 0},
        hoverinfo="skip",
        **bars,
    )


def _arrows(
    plane: tuple[Axis, Axis], trials: Sequence[Trial], across: Sequence[Ends | None],
    up: Sequence[Ends | None],
) -> Trace:  # fmt: skip
    """Arrows at the edges of the plot, where intervals go on."""
    points: list[tuple[float | None, float | None, str]] = []
    marks = zip(plane[0].values(trials), plane[1].values(trials), across, up, strict=True)
    for x, y, x_interval, y_interval in marks:
        (left, right), (lower, upper) = _edges(plane[0], x_interval), _edges(plane[1], y_interval)
        points += [(left, y, "triangle-left"), (right, y, "triangle-right")]
        points += [(x, lower, "triangle-down"), (x, upper, "triangle-up")]
    points = [(x, y, symbol) for x, y, symbol in points if x is not None and y is not None]
    return _scatter(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        name="interval goes on",
        marker={"symbol": [symbol for *_, symbol in points], "size": 7, "color": BAR_COLOUR},
        hoverinfo="skip",
    )


def _edges(axis: Axis, interval: Ends | None) -> tuple[float | None, float | None]:
    """Where ``interval`` leaves the axis, at the lower and at the upper end of it."""
    if interval is None:
        return None, None
    low, high = axis.clip(interval)
    return low if low > interval[0] else None, high if high < interval[1] else None


def _marker_colour(view: View, trials: Sequence[Trial]) -> dict[str, object]:
    if view.colour is None:
        return {"color": SKY}
    return {"color": view.colour.values(trials), "coloraxis": "coloraxis"}


def _violating(snapshot: Snapshot, view: View) -> Trace:
    trials = _subsample(snapshot, view, view.violating, MAX_VIOLATING)
    return _scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        name="outside",
        opacity=0.55,
        marker={"size": 7, "symbol": "x-thin", "line": {"width": 1.5, "color": PINK}},
        **_hover_texts(snapshot, trials),
    )


def _front_line(view: View) -> Trace:
    points = sorted(
        (x, y)
        for x, y in zip(view.x.values(view.line), view.y.values(view.line), strict=True)
        if x is not None and y is not None
    )
    return {
        "type": "scatter",
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "mode": "lines",
        "name": "front line",
        "line": {"color": SKY, "width": 2},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _ring(
    snapshot: Snapshot, view: View, name: str, trials: Sequence[Trial],
    symbol: str, size: int, colour: str,
) -> Trace:  # fmt: skip
    trials = _drawable(view, trials)
    return _scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        name=name,
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.5}},
        **_hover_texts(snapshot, trials),
    )


_HOVER_CACHE: WeakKeyDictionary[Snapshot, dict[int, str]] = WeakKeyDictionary()
"""Hover texts by snapshot and number of the trial. They do not depend on the axes."""


def _hover_texts(snapshot: Snapshot, trials: Sequence[Trial]) -> dict[str, object]:
    texts = _HOVER_CACHE.setdefault(snapshot, {})
    for trial in trials:
        if trial.number not in texts:
            texts[trial.number] = _hover_text(snapshot, trial)
    return {
        "customdata": [[t.number] for t in trials],
        "hovertext": [texts[t.number] for t in trials],
        "hoverinfo": "text",
    }


def _hover_text(snapshot: Snapshot, trial: Trial) -> str:
    """Status, objectives, settings, violations and end reason, escaped."""
    lines = [f"<b>trial {trial.number}</b> ({wrapped_label(snapshot.verdict_texts[trial.number])})"]
    for name in snapshot.study.reported_metrics:
        value = value_of(trial, name)
        if value is not None:
            ratio = format_ratio_to_default(name, trial, snapshot.baseline)
            ends = format_interval(name, figure_interval(trial, name).ci95)
            parts = [
                f"{metric_label(name)} {format_metric(name, value)}",
                f" ({ends})" if ends else "",
                f", {ratio}" if ratio else "",
            ]
            lines.append(wrapped_label("".join(parts)))
        if (score := test_score(snapshot.replicates, trial, name)) is not None:
            lines.append(wrapped_label(f"{metric_label(name)} on test {score}"))
    if trial.number in snapshot.front_probabilities:
        probability = snapshot.front_probabilities[trial.number]
        lines.append(f"{probability:.0%} probability to be on the front")
    lines.append(wrapped_label(snapshot.strategy_differences[trial.number]))
    lines += [wrapped_label(violation) for violation in snapshot.violations.get(trial.number, ())]
    if trial.reason:
        lines.append(wrapped_label(trial.reason))
    return "<br>".join(lines)
