"""The first two objectives of a study against each other, drawn with characters."""

from __future__ import annotations

from collections.abc import Sequence

import plotext
from rich.text import Text

from autotune.analysis.front import value_of
from autotune.analysis.snapshot import Snapshot
from autotune.domain.metrics import Metric, MetricKind, get_metric

MAX_WIDTH, HEIGHT = 76, 18
TRIED, FRONT, KNEE, DEFAULT = "·", "●", "◆", "D"
STYLES = {FRONT: "bold green", KNEE: "bold yellow", DEFAULT: "bold red"}
MARGIN = 0.05
"""Share of the range of the data that an axis extends beyond it, so that no mark hides an axis."""
NUM_TICKS = 4

Range = tuple[float, float]


def plot(snapshot: Snapshot, width: int) -> Text:
    """The front against the other feasible trials. ``width`` is that of the terminal."""
    across, up = (get_metric(objective.metric) for objective in snapshot.study.objectives[:2])
    figure = plotext.figure
    figure.clear()
    figure.plot_size(min(width, MAX_WIDTH), HEIGHT)
    all_points: list[tuple[float, float]] = []
    for marker, points in _layers(snapshot, across.name, up.name):
        if points:
            xs, ys = zip(*points, strict=True)
            figure.draw(figure.signal(list(xs), list(ys), marker=marker))
            all_points += points
    for side, metric, values in zip("xy", (across, up), zip(*all_points, strict=True), strict=True):
        limits = axis_range(metric, values)
        ticks = axis_ticks(limits)
        ruler = figure.ruler(side)
        ruler.lim(*limits)
        ruler.ticks(ticks, [tick_label(metric, tick) for tick in ticks])
    drawing = Text(str(figure.build().string(True)).rstrip("\n"))
    for marker, style in STYLES.items():
        drawing.highlight_regex(rf"(?<![A-Za-z]){marker}(?![A-Za-z])", style)
    title = f"{up.label} (up) against {across.label} (right)\n"
    legend = f"\n{FRONT} front  {KNEE} knee  {DEFAULT} default  {TRIED} tried"
    return Text.assemble((title, "bold"), drawing, (legend, "dim"))


def _layers(
    snapshot: Snapshot, across: str, up: str
) -> list[tuple[str, list[tuple[float, float]]]]:
    """The points of each marker. A trial is in one layer only, so that it is one mark."""
    default, knee = snapshot.baseline, snapshot.knee
    layers: dict[str, list[tuple[float, float]]] = {TRIED: [], FRONT: [], DEFAULT: [], KNEE: []}
    on_front = {trial.number for trial in snapshot.front}
    marked = [trial for trial in (default, knee) if trial is not None]
    outside = {t.number: t for t in marked if t not in snapshot.feasible}.values()
    for trial in [*snapshot.feasible, *outside]:
        x, y = value_of(trial, across), value_of(trial, up)
        if x is None or y is None:
            continue
        if trial is knee:
            marker = KNEE
        elif trial is default:
            marker = DEFAULT
        else:
            marker = FRONT if trial.number in on_front else TRIED
        layers[marker].append((x, y))
    return list(layers.items())


def axis_range(metric: Metric, values: Sequence[float]) -> Range:
    """The ends of an axis: a margin around ``values``, within what the metric can be. Equal values
    get a range of a tenth of their size."""
    low, high = min(values), max(values)
    margin = (high - low) * MARGIN or abs(high) * MARGIN or MARGIN
    least, most = metric_range(metric)
    return max(low - margin, min(least, low)), min(high + margin, max(most, high))


def metric_range(metric: Metric) -> Range:
    """The values that a metric can have."""
    if metric.kind is MetricKind.CORRELATION:
        return -1.0, 1.0
    return 0.0, 1.0 if metric.kind is MetricKind.SHARE else float("inf")


def axis_ticks(limits: Range) -> list[float]:
    low, high = limits
    return [low + (high - low) * index / NUM_TICKS for index in range(NUM_TICKS + 1)]


def tick_label(metric: Metric, value: float) -> str:
    if metric.kind is MetricKind.SHARE:
        return f"{100 * value:.1f}%"
    if metric.kind is MetricKind.MONEY:
        return f"${value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
