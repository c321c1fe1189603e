"""The front as a picture: who beats whom, who did not finish, which one is suggested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autotune.analysis.front import value_of
from autotune.analysis.snapshot import Snapshot, Verdict
from autotune.analysis.summary import shown, times_default
from autotune.analysis.thinning import thinned
from autotune.domain import State, Trial

from .axes import Axis, label
from .palette import GREEN, PINK, RED, SCALE, SKY, STATE_COLOUR, STATE_SYMBOL
from .text import hover

LANES = (State.PRUNED, State.INFEASIBLE, State.FAILED, State.INTERRUPTED)
MOST_DOMINATED, MOST_OUTSIDE, MOST_IN_LANE = 400, 150, 60
"""Marks sent to the browser; more cannot be told apart and would take it longer to draw."""


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
    unfinished = [t for t in snapshot.trials if t.state in LANES]
    lanes = [state for state in LANES if any(t.state is state for t in unfinished)]
    figure = _sheet(lanes)
    for trace in _traces(snapshot, view):
        figure.add_trace(trace, row=1, col=1)
    for state in lanes:
        figure.add_trace(_lane(snapshot, state), row=2, col=1)
    figure.update_xaxes(view.x.layout(), row=1, col=1)
    figure.update_yaxes(view.y.layout(), row=1, col=1)
    if lanes:
        figure.update_xaxes(tickprefix="trial ", nticks=6, zeroline=False, row=2, col=1)
        figure.update_yaxes(fixedrange=True, showgrid=False, row=2, col=1)
    return _dressed(figure, view, 560 + 26 * len(lanes))


def front_figure_3d(snapshot: Snapshot, view: View) -> go.Figure:
    """Three metrics at once: x, y and the colour metric upwards."""
    assert view.colour is not None
    figure = go.Figure()
    for name, trials, size, opacity in (
        ("dominated", _spread(snapshot, view, view.dominated, MOST_DOMINATED), 3, 0.35),
        ("front", view.front, 6, 1.0),
    ):
        figure.add_trace(
            go.Scatter3d(
                x=view.x.values(trials),
                y=view.y.values(trials),
                z=view.colour.values(trials),
                mode="markers",
                name=name,
                opacity=opacity,
                marker={"size": size, **_shade(view, trials)},
                customdata=[[t.number] for t in trials],
                hovertext=[_hover(snapshot, t) for t in trials],
                hoverinfo="text",
            )
        )
    axes = {"xaxis": view.x, "yaxis": view.y, "zaxis": view.colour}
    figure.update_layout(
        scene={
            name: {k: v for k, v in axis.layout().items() if k != "automargin"}
            for name, axis in axes.items()
        }
    )
    return _dressed(figure, view, 620)


def _sheet(lanes: Sequence[State]) -> go.Figure:
    if not lanes:
        return make_subplots(rows=1, cols=1)
    low = 0.05 * len(lanes) + 0.02
    return make_subplots(rows=2, cols=1, row_heights=[1 - low, low], vertical_spacing=0.15)


def _traces(snapshot: Snapshot, view: View) -> list[go.Scatter]:
    found = [
        *([_sample(view, "dominated", 7, 0.5)] if view.dominated else []),
        *([_sample(view, "front", 12, 1.0)] if view.front else []),
        _marks(
            snapshot,
            view,
            "dominated",
            _spread(snapshot, view, view.dominated, MOST_DOMINATED),
            size=7,
            opacity=0.4,
        ),
        _outside(snapshot, view),
        _line(view),
        _marks(snapshot, view, "front", view.front, size=12, opacity=1.0, errors=True),
    ]
    confirmed = [t for t in view.front if t.number in snapshot.confirmed]
    default = snapshot.default
    rings = (
        ("confirmed", confirmed, "circle-open", 19, GREEN),
        ("default", [default] if default is not None else [], "diamond", 14, RED),
        ("suggested", [view.suggested] if view.suggested is not None else [], "star-open", 26, RED),
        ("selected", [view.selected] if view.selected is not None else [], "square-open", 24, PINK),
    )
    found += [_ring(snapshot, view, *ring) for ring in rings]
    return [trace for trace in found if trace.x is not None and len(trace.x)]


def _sample(view: View, name: str, size: int, opacity: float) -> go.Scatter:
    """A mark for the legend, which cannot show a colour scale."""
    marker = {
        "size": size,
        "color": SKY if view.colour is None else SCALE[2],
        "line": {"width": 1, "color": SCALE[1]},
    }
    return go.Scatter(x=[None], y=[None], mode="markers", name=name, opacity=opacity, marker=marker)


def _spread(snapshot: Snapshot, view: View, trials: Sequence[Trial], most: int) -> list[Trial]:
    """As many as can be told apart; what lies under another mark is not sent."""
    across, up = snapshot.column(view.x.metric), snapshot.column(view.y.metric)
    known = [t for t in trials if t.number in across and t.number in up]
    places = thinned([across[t.number] for t in known], [up[t.number] for t in known], most)
    return [known[place] for place in places]


def _placed(view: View, trial: Trial) -> bool:
    return value_of(trial, view.x.metric) is not None and value_of(trial, view.y.metric) is not None


def _marks(
    snapshot: Snapshot, view: View, name: str, trials: Sequence[Trial], *,
    size: int, opacity: float, errors: bool = False,
) -> go.Scatter:  # fmt: skip
    trials = [t for t in trials if _placed(view, t)]
    bars = {"error_x": view.x.errors(trials), "error_y": view.y.errors(trials)} if errors else {}
    return go.Scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        mode="markers",
        name=name,
        showlegend=False,
        opacity=opacity,
        marker={
            "size": size, "line": {"width": 1, "color": "rgba(128,128,128,0.8)"},
            **_shade(view, trials),
        },
        **bars,
        **_words(snapshot, trials),
    )  # fmt: skip


def _shade(view: View, trials: Sequence[Trial]) -> dict[str, object]:
    if view.colour is None:
        return {"color": SKY}
    return {"color": view.colour.values(trials), "coloraxis": "coloraxis"}


def _outside(snapshot: Snapshot, view: View) -> go.Scatter:
    trials = _spread(snapshot, view, view.outside, MOST_OUTSIDE)
    return go.Scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        mode="markers",
        name="outside constraints",
        opacity=0.55,
        marker={"size": 7, "symbol": "x-thin", "line": {"width": 1.5, "color": PINK}},
        **_words(snapshot, trials),
    )


def _line(view: View) -> go.Scatter:
    ends = sorted(
        (x, y)
        for x, y in zip(view.x.values(view.line), view.y.values(view.line), strict=True)
        if x is not None and y is not None
    )
    return go.Scatter(
        x=[x for x, _ in ends],
        y=[y for _, y in ends],
        mode="lines",
        name="front line",
        line={"color": SKY, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )


def _ring(
    snapshot: Snapshot, view: View, name: str, trials: Sequence[Trial],
    symbol: str, size: int, colour: str,
) -> go.Scatter:  # fmt: skip
    trials = [t for t in trials if _placed(view, t)]
    return go.Scatter(
        x=view.x.values(trials),
        y=view.y.values(trials),
        mode="markers",
        name=name,
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.5}},
        **_words(snapshot, trials),
    )


def _lane(snapshot: Snapshot, state: State) -> go.Scatter:
    trials = [t for t in snapshot.trials if t.state is state]
    trials = trials[:: -(-len(trials) // MOST_IN_LANE)]
    return go.Scatter(
        x=[t.number for t in trials],
        y=[state.value] * len(trials),
        mode="markers",
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
    lines = [f"<b>trial {trial.number}</b> ({hover(_fate(snapshot, trial))})"]
    for objective in snapshot.study.objectives:
        value = value_of(trial, objective.metric)
        if value is not None:
            ratio = times_default(objective.metric, value, snapshot.default)
            figure = shown(objective.metric, value)
            lines.append(
                hover(f"{label(objective.metric)} {figure}" + (f" ({ratio})" if ratio else ""))
            )
    lines.append(hover(snapshot.settings[trial.number]))
    lines += [hover(broken) for broken in snapshot.broken.get(trial.number, ())]
    if trial.reason:
        lines.append(hover(trial.reason))
    return "<br>".join(lines)


def _fate(snapshot: Snapshot, trial: Trial) -> str:
    verdict = snapshot.verdicts[trial.number]
    return trial.state.value if verdict is Verdict.UNFINISHED else verdict.value


def _dressed(figure: go.Figure, view: View, height: int) -> go.Figure:
    bar = {"orientation": "h", "thickness": 10, "y": 1.0, "yanchor": "bottom", "len": 1.0}
    if view.colour is not None:
        bar |= {
            "title": {"text": view.colour.title, "side": "top"},
            **view.colour.numbers,
        }
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        coloraxis={"colorscale": SCALE, "colorbar": bar, "reversescale": view.bright_is_low},
        hoverlabel={"align": "left"},
        dragmode="pan",
    )
    return figure
