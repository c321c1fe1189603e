"""The plot of the path from the default to a strategy: a waterfall of the contributions of its
levers, with a column for each objective. Reports and the dashboard share it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autotune.analysis.attribution import Attribution
from autotune.analysis.comparison_text import describe_contribution, format_factor
from autotune.analysis.front import direction_of
from autotune.analysis.metric_posterior import Comparison
from autotune.analysis.text import metric_label
from autotune.domain import Study
from autotune.domain.metrics import get_metric
from autotune.report.axes import error_lengths
from autotune.report.figures import apply_theme
from autotune.report.style import BLUE, GREY, ORANGE, one_line_label, wrapped_label

ROW_HEIGHT = 30
LABEL_WIDTH = 24
"""Characters of a line of a label."""
MARGIN, TEXT_MARGIN = 0.15, 0.45
"""Space to the left and, with the values, to the right of the bars, in units of their range."""
TICK_FACTORS = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0,
)  # fmt: skip
MIN_TICK_DISTANCE = 0.18
"""Between two ticks, in units of the range of the axis."""


def path_figure(
    study: Study, path: Attribution, metrics: Sequence[str] = (), *, static: bool = False
) -> go.Figure:
    """A bar leads from the value before a step to the value after it, with the 95% interval of the
    step. The last row is the total. A column for each of ``metrics``, by default all."""
    columns = [_Column(study, path, metric) for metric in metrics or path.totals]
    labels = [*(wrapped_label(step, LABEL_WIDTH) for step in path.steps), "together"]
    figure = make_subplots(
        1, len(columns), shared_yaxes=True, horizontal_spacing=0.03,
        subplot_titles=[column.title for column in columns],
    )  # fmt: skip
    for index, column in enumerate(columns, start=1):
        for trace in column.traces(labels):
            figure.add_trace(trace, row=1, col=index)
        figure.update_xaxes(column.axis, row=1, col=index)
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=labels[::-1], automargin=True
    )
    lines = sum(1 + label.count("<br>") for label in labels)
    apply_theme(figure, 84 + ROW_HEIGHT * lines, static=static, showlegend=False, bargap=0.4)
    return figure.update_layout(margin={"t": 32}).update_annotations(font={"size": 13})


@dataclass(frozen=True)
class _Column:
    """The bars of one metric. Positions are logarithms of factors, or differences; those of scores
    up to 1 are in points."""

    study: Study
    path: Attribution
    metric: str

    @property
    def total(self) -> Comparison:
        return self.path.totals[self.metric]

    @property
    def title(self) -> str:
        is_in_points = get_metric(self.metric).is_ratio and not self.total.is_ratio
        return one_line_label(f"{metric_label(self.metric)}{' (points)' * is_in_points}")

    @cached_property
    def steps(self) -> Sequence[Comparison | None]:
        """The contribution of each row; ``None`` for levers without an effect."""
        return [*(step.contributions.get(self.metric) for step in self.path.steps), self.total]

    @cached_property
    def starts(self) -> Sequence[float]:
        starts = [0.0]
        for step in self.steps[:-2]:
            starts.append(starts[-1] + (0.0 if step is None else self._position(step.value)))
        return [*starts, 0.0]

    def traces(self, labels: Sequence[str]) -> Sequence[go.Bar | go.Scatter]:
        rows = [
            (label, start, step)
            for label, start, step in zip(labels, self.starts, self.steps, strict=True)
            if step is not None
        ]
        names, starts = [label for label, _, _ in rows], [start for _, start, _ in rows]
        steps = [step for _, _, step in rows]
        lengths = [self._position(step.value) for step in steps]
        ends = [start + length for start, length in zip(starts, lengths, strict=True)]
        bars = go.Bar(
            y=names, base=starts, x=lengths, orientation="h",
            marker={"color": [self._colour(step) for step in steps]},
            hovertext=[describe_contribution(step) for step in steps],
            hoverinfo="text",
        )  # fmt: skip
        intervals = go.Scatter(
            y=names, x=ends, mode="markers",
            marker={"size": 1, "opacity": 0}, hoverinfo="skip",
            error_x={
                "type": "data", "symmetric": False, "color": GREY, "thickness": 1.5, "width": 3,
                **error_lengths(ends, [self._visible_interval(s, e) for s, e in
                                       zip(steps, ends, strict=True)]),
            },
        )  # fmt: skip
        values = go.Scatter(
            y=names, x=[self.range[1]] * len(rows), mode="text", hoverinfo="skip",
            text=[format_factor(step).removesuffix(" points") for step in steps],
            textposition="middle left", cliponaxis=False,
        )  # fmt: skip
        return bars, intervals, values

    def _visible_interval(self, step: Comparison, end: float) -> tuple[float, float]:
        """The interval of a step that ends at ``end``, as far as it is on the axis and not on the
        values."""
        low, high = self._extent
        margin, value = MARGIN * (high - low), self._position(step.value)
        ends = [end + self._position(bound) - value for bound in step.ci95]
        return max(ends[0], low - margin), min(ends[1], high + margin)

    @cached_property
    def _extent(self) -> tuple[float, float]:
        """The range of the bars. Intervals can be far longer."""
        ends = [
            start + self._position(step.value)
            for start, step in zip(self.starts, self.steps, strict=True)
            if step is not None
        ]
        low, high = min(0.0, *ends), max(0.0, *ends)
        return low, high if high > low else low + 1.0

    @property
    def range(self) -> tuple[float, float]:
        low, high = self._extent
        return low - MARGIN * (high - low), high + TEXT_MARGIN * (high - low)

    @property
    def axis(self) -> dict[str, object]:
        settings: dict[str, object] = {"range": list(self.range), "zeroline": True, "tickangle": 0}
        if not self.total.is_ratio:
            return {**settings, "nticks": 5, "tickformat": "~g"}
        low, high = self.range
        ticks = [1.0]
        for factor in TICK_FACTORS:
            distance = min(abs(math.log(factor / other)) for other in ticks)
            if low <= math.log(factor) <= high and distance > MIN_TICK_DISTANCE * (high - low):
                ticks.append(factor)
        labels = {"tickvals": list(map(math.log, ticks)), "ticktext": [f"{v:g}x" for v in ticks]}
        return {**settings, **labels}

    def _position(self, value: float) -> float:
        if self.total.is_ratio:
            return math.log(value)
        return 100 * value if get_metric(self.metric).is_ratio else value

    def _colour(self, step: Comparison) -> str:
        """Blue for better, orange for worse, grey where the interval contains no change."""
        if not step.is_clear:
            return GREY
        is_more = self._position(step.value) > 0
        return BLUE if is_more == (direction_of(self.study, self.metric) == "maximize") else ORANGE
