"""The front as a picture: who beats whom, who did not finish, which one is suggested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import plotly.graph_objects as go

from autotune.analysis.decimate import decimate
from autotune.analysis.front import value_of
from autotune.analysis.snapshot import Snapshot, Verdict
from autotune.analysis.text import format_metric, format_ratio_to_default, metric_label
from autotune.domain import State, Trial
from autotune.report.axes import Axis
from autotune.report.labels import wrapped_label
from autotune.report.palette import GREEN, PINK, RED, SCALE, SKY, STATE_COLOUR, STATE_SYMBOL

LANES = (State.PRUNED, State.INFEASIBLE, State.FAILED, State.INTERRUPTED)
MOST_DOMINATED, MOST_OUTSIDE, MOST_IN_LANE, MOST_BARS = 120, 40, 20, 40
"""Marks sent to the browser; more cannot be told apart and would take it longer to draw."""
MOST_SOLID = 1_000
"""The same in three dimensions, which the graphics card draws."""
Trace = dict[str, Any]
"""One trace as Plotly reads it. Plain data: its own classes check each setting as it is set."""
_STEPS = [[step / (len(SCALE) - 1), colour] for step, colour in enumerate(SCALE)]


@dataclass(frozen=True)
class View:
    """What to draw: axes, the trials that pass the reader's filters, and what is marked.

    ``line`` joins the front of the two metrics shown, which need not be all objectives.
    """

    x: Axis
    y: Axis
    colour: Axis | None
    dominated: Sequence[Trial]
    outside: Sequence[Trial]
    front: Sequence[Trial]
    line: Sequence[Trial] = ()
    suggested: Trial | None = None
    selected: Trial | None = None
    bright_is_low: bool = False


def front_figure(snapshot: Snapshot, view: View) -> go.Figure:
    """Two metrics against each other; below it a lane for trials without a result."""
    lanes = [state for state in LANES if snapshot.by_state[state]]
    traces = _traces(snapshot, view) + [_lane(snapshot, state) for state in lanes]
    sheet = _sheet(len(lanes)) | {"xaxis": view.x.layout()}
    sheet["yaxis"] = sheet.get("yaxis", {}) | view.y.layout()
    axes = {name: axis | {"automargin": False} for name, axis in sheet.items()}
    return _figure(traces, axes | _dress(view, 600 + 26 * len(lanes)))


def front_figure_3d(snapshot: Snapshot, view: View) -> go.Figure:
    """Three metrics at once: x, y and the colour metric upwards."""
    assert view.colour is not None
    default = [] if snapshot.baseline is None else [snapshot.baseline]
    suggested = [] if view.suggested is None else [view.suggested]
    many = _spread(snapshot, view, view.dominated, MOST_SOLID)
    groups = (
        ("dominated", many, 0.35, {"size": 3, **_shade(view, many)}),
        ("front", view.front, 1.0, {"size": 6, **_shade(view, view.front)}),
        ("default", default, 1.0, {"size": 8, "color": RED, "symbol": "diamond"}),
        ("suggested", suggested, 1.0, {"size": 14, "color": RED, "symbol": "circle-open"}),
    )
    traces = [
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
            **_words(snapshot, trials),
        }
        for name, trials, opacity, marker in groups
        if trials
    ]
    axes = {"xaxis": view.x, "yaxis": view.y, "zaxis": view.colour}
    scene: dict[str, object] = {name: axis.layout() for name, axis in axes.items()}
    eye, centre = {"x": 1.6, "y": 1.6, "z": 1.1}, {"x": 0, "y": 0, "z": -0.15}
    scene["camera"] = {"eye": eye, "center": centre}
    return _figure(traces, {"scene": scene, **_dress(view, 620)})


def _figure(traces: Sequence[Trace], layout: dict[str, object]) -> go.Figure:
    """What is drawn, unchecked: checking takes longer than all else that the server does for it."""
    return go.Figure(traces, layout, _validate=False)


def _sheet(lanes: int) -> dict[str, dict[str, object]]:
    """Where the axes of the lanes go: below the others, which then give up some height."""
    if not lanes:
        return {}
    low = 0.05 * lanes + 0.02
    return {
        "yaxis": {"domain": [low + 0.15, 1.0]},
        "xaxis2": {
            "anchor": "y2", "tickprefix": "trial ", "showtickprefix": "first", "nticks": 6,
            "tickformat": ",~f",
            "zeroline": False,
        },
        "yaxis2": {"anchor": "x2", "domain": [0.0, low], "fixedrange": True, "showgrid": False},
    }  # fmt: skip


def _traces(snapshot: Snapshot, view: View) -> list[Trace]:
    dominated = _spread(snapshot, view, view.dominated, MOST_DOMINATED)
    found = [
        *([_sample(view, "dominated", 7, 0.5)] if view.dominated else []),
        *([_sample(view, "front", 12, 1.0)] if view.front else []),
        _marks(snapshot, view, "dominated", dominated, size=7, opacity=0.4),
        _outside(snapshot, view),
        _line(view),
        _marks(snapshot, view, "front", view.front, size=12, opacity=1.0),
        _bars(snapshot, view),
    ]
    confirmed = [t for t in view.front if t.number in snapshot.confirmed]
    default = snapshot.baseline
    rings = (
        ("confirmed", confirmed, "circle-open", 19, GREEN),
        ("default", [default] if default is not None else [], "diamond", 14, RED),
        ("suggested", [view.suggested] if view.suggested is not None else [], "star-open", 26, RED),
        ("selected", [view.selected] if view.selected is not None else [], "square-open", 24, PINK),
    )
    found += [_ring(snapshot, view, *ring) for ring in rings]
    return [trace for trace in found if trace["x"]]


def _sample(view: View, name: str, size: int, opacity: float) -> Trace:
    """A mark for the legend, which cannot show a colour scale."""
    marker = {
        "size": size,
        "color": SKY if view.colour is None else SCALE[2],
        "line": {"width": 1, "color": SCALE[1]},
    }
    return _scatter(x=[None], y=[None], name=name, opacity=opacity, marker=marker)


def _scatter(**settings: object) -> Trace:
    return {"type": "scatter", "mode": "markers", **settings}


def _spread(snapshot: Snapshot, view: View, trials: Sequence[Trial], most: int) -> list[Trial]:
    """As many as can be told apart; what lies under another mark is not sent."""
    across, up = snapshot.metric_values(view.x.metric), snapshot.metric_values(view.y.metric)
    known = [t for t in trials if t.number in across and t.number in up]
    places = decimate([across[t.number] for t in known], [up[t.number] for t in known], most)
    return [known[place] for place in places]


def _placed(view: View, trials: Sequence[Trial]) -> list[Trial]:
    return [
        t
        for t in trials
        if value_of(t, view.x.metric) is not None and value_of(t, view.y.metric) is not None
    ]


def _marks(
    snapshot: Snapshot, view: View, name: str, trials: Sequence[Trial], *,
    size: int, opacity: float,
) -> Trace:  # fmt: skip
    trials = _placed(view, trials)
    line = {"width": 1, "color": "rgba(128,128,128,0.8)"}
    return _scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        name=name,
        showlegend=False,
        opacity=opacity,
        marker={"size": size, "line": line, **_shade(view, trials)},
        **_words(snapshot, trials),
    )


def _bars(snapshot: Snapshot, view: View) -> Trace:
    """The intervals of the front, around the mean of all runs where one was run again; of a crowded
    front those of the line, which can still be read."""
    trials = _placed(view, view.front if len(view.front) <= MOST_BARS else view.line)
    trials = trials[:: -(-len(trials) // MOST_BARS) or 1]
    across = [snapshot.replicates.estimate(t, view.x.metric) for t in trials]
    up = [snapshot.replicates.estimate(t, view.y.metric) for t in trials]
    return _scatter(
        x=[view.x.scale(f.value) if f else None for f in across],
        y=[view.y.scale(f.value) if f else None for f in up],
        name="95% interval",
        showlegend=False,
        marker={"size": 1, "opacity": 0},
        error_x=view.x.error_bars(across),
        error_y=view.y.error_bars(up),
        hoverinfo="skip",
    )


def _shade(view: View, trials: Sequence[Trial]) -> dict[str, object]:
    if view.colour is None:
        return {"color": SKY}
    return {"color": view.colour.values(trials), "coloraxis": "coloraxis"}


def _outside(snapshot: Snapshot, view: View) -> Trace:
    trials = _spread(snapshot, view, view.outside, MOST_OUTSIDE)
    return _scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        name="outside",
        opacity=0.55,
        marker={"size": 7, "symbol": "x-thin", "line": {"width": 1.5, "color": PINK}},
        **_words(snapshot, trials),
    )


def _line(view: View) -> Trace:
    ends = sorted(
        (x, y)
        for x, y in zip(view.x.values(view.line), view.y.values(view.line), strict=True)
        if x is not None and y is not None
    )
    return {
        "type": "scatter",
        "x": [x for x, _ in ends],
        "y": [y for _, y in ends],
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
    trials = _placed(view, trials)
    return _scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        name=name,
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.5}},
        **_words(snapshot, trials),
    )


def _lane(snapshot: Snapshot, state: State) -> Trace:
    trials = snapshot.by_state[state]
    trials = trials[:: -(-len(trials) // MOST_IN_LANE)]
    return _scatter(
        x=[t.number for t in trials],
        y=[state.value] * len(trials),
        xaxis="x2",
        yaxis="y2",
        showlegend=False,
        marker={"symbol": STATE_SYMBOL[state], "color": STATE_COLOUR[state], "size": 8},
        **_words(snapshot, trials),
    )


def _words(snapshot: Snapshot, trials: Sequence[Trial]) -> dict[str, object]:
    known = _hovers(snapshot)
    for trial in trials:
        if trial.number not in known:
            known[trial.number] = _hover(snapshot, trial)
    return {
        "customdata": [[t.number] for t in trials],
        "hovertext": [known[t.number] for t in trials],
        "hoverinfo": "text",
    }


_KEPT: WeakKeyDictionary[Snapshot, dict[int, str]] = WeakKeyDictionary()


def _hovers(snapshot: Snapshot) -> dict[int, str]:
    """Words already written for this snapshot: they do not depend on the axes."""
    return _KEPT.setdefault(snapshot, {})


def _hover(snapshot: Snapshot, trial: Trial) -> str:
    """Figures, strategy and, where there is one, the reason; names are escaped."""
    lines = [f"<b>trial {trial.number}</b> ({wrapped_label(_status_text(snapshot, trial))})"]
    for objective in snapshot.study.objectives:
        value = value_of(trial, objective.metric)
        if value is not None:
            ratio = format_ratio_to_default(objective.metric, value, snapshot.baseline)
            figure = format_metric(objective.metric, value)
            lines.append(
                wrapped_label(
                    f"{metric_label(objective.metric)} {figure}" + (f" ({ratio})" if ratio else "")
                )
            )
    if trial.number in snapshot.front_probabilities:
        lines.append(f"{snapshot.front_probabilities[trial.number]:.0%} sure to be on the front")
    lines.append(wrapped_label(snapshot.strategy_differences[trial.number]))
    lines += [wrapped_label(broken) for broken in snapshot.violations.get(trial.number, ())]
    if trial.reason:
        lines.append(wrapped_label(trial.reason))
    return "<br>".join(lines)


def _status_text(snapshot: Snapshot, trial: Trial) -> str:
    verdict = snapshot.verdicts[trial.number]
    return trial.state.value if verdict is Verdict.UNFINISHED else verdict.value


def _dress(view: View, height: int) -> dict[str, object]:
    """Margins are fixed: Plotly would draw everything once more for each one that it finds. So it
    would when Streamlit sets the modes, or the same data again, which the revision tells apart."""
    bar: dict[str, object] = {
        "orientation": "h", "thickness": 10, "y": 1.0, "yanchor": "bottom", "len": 1.0,
    }  # fmt: skip
    coloured = view.colour is not None and bool(view.dominated or view.front)
    if view.colour is not None:
        bar |= {"title": {"text": view.colour.title, "side": "top"}, **view.colour.tick_format}
    return {
        "height": height,
        "margin": {
            "l": 76, "r": 12, "t": 66 if coloured else 12, "b": 104,
            "autoexpand": False,
        },
        "legend": {
            "orientation": "h", "xref": "container", "x": 0, "yref": "container", "y": 0,
            "yanchor": "bottom",
        },
        "coloraxis": {"colorscale": _STEPS, "colorbar": bar, "reversescale": view.bright_is_low},
        "hoverlabel": {"align": "left"},
        "dragmode": "pan",
        "clickmode": "event+select",
        "hovermode": "closest",
        "datarevision": 1,
    }  # fmt: skip
