"""The plot of the front in two or three dimensions: its axes and layout."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from autotune.analysis.snapshot import Snapshot
from autotune.domain import State
from autotune.report.style import SCALE

from .front_traces import Trace, View, plane_traces, space_traces, status_row

STATUS_ROWS = (State.PRUNED, State.INFEASIBLE, State.FAILED, State.INTERRUPTED)
"""States without a result. Their trials are drawn in rows below the plot."""
NUM_STATUS_TICKS = 6
_COLOUR_SCALE = [[step / (len(SCALE) - 1), colour] for step, colour in enumerate(SCALE)]


def front_figure(snapshot: Snapshot, view: View) -> go.Figure:
    """Two metrics against each other, with a row below for each state without a result."""
    states = [state for state in STATUS_ROWS if snapshot.by_state[state]]
    traces = plane_traces(snapshot, view) + [status_row(snapshot, state) for state in states]
    numbers = [trial.number for state in states for trial in snapshot.by_state[state]]
    axes = _status_axes(len(states), numbers) | {"xaxis": view.x.layout()}
    axes["yaxis"] = axes.get("yaxis", {}) | view.y.layout()
    layout = {name: axis | {"automargin": False} for name, axis in axes.items()}
    return _figure(traces, layout | _layout(view, 600 + 26 * len(states)))


def front_figure_3d(snapshot: Snapshot, view: View) -> go.Figure:
    """Three metrics: x, y and the metric of the colour as height."""
    assert view.colour is not None
    axes = {"xaxis": view.x, "yaxis": view.y, "zaxis": view.colour}
    scene: dict[str, object] = {name: axis.layout() for name, axis in axes.items()}
    eye, centre = {"x": 1.6, "y": 1.6, "z": 1.1}, {"x": 0, "y": 0, "z": -0.15}
    scene["camera"] = {"eye": eye, "center": centre}
    return _figure(space_traces(snapshot, view), {"scene": scene, **_layout(view, 620)})


def _figure(traces: Sequence[Trace], layout: dict[str, object]) -> go.Figure:
    """A figure without validation, which takes longer than all other work of the server for it."""
    return go.Figure(traces, layout, _validate=False)


def _status_axes(rows: int, numbers: Sequence[int]) -> dict[str, dict[str, object]]:
    """The axes of the rows below the plot, whose own axes then get less height. Ticks are whole
    numbers of trials."""
    if not rows:
        return {}
    height = 0.05 * rows + 0.02
    is_narrow = max(numbers) - min(numbers) < NUM_STATUS_TICKS
    ticks = {"dtick": 1} if is_narrow else {"nticks": NUM_STATUS_TICKS}
    return {
        "yaxis": {"domain": [height + 0.15, 1.0]},
        "xaxis2": {
            "anchor": "y2", "tickprefix": "trial ", "showtickprefix": "first",
            "tickformat": ",~f", "zeroline": False, **ticks,
        },
        "yaxis2": {"anchor": "x2", "domain": [0.0, height], "fixedrange": True, "showgrid": False},
    }  # fmt: skip


def _layout(view: View, height: int) -> dict[str, object]:
    """The layout, with fixed margins: Plotly draws everything again for each margin that it
    computes. It also does so when Streamlit sets the modes, or the same data again, which
    ``datarevision`` prevents."""
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
        "coloraxis": {
            "colorscale": _COLOUR_SCALE, "colorbar": bar, "reversescale": view.bright_is_low
        },
        "hoverlabel": {"align": "left"},
        "dragmode": "pan",
        "clickmode": "event+select",
        "hovermode": "closest",
        "datarevision": 1,
    }  # fmt: skip
