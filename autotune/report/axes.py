"""Axes of plots: a metric, as measured or as multiples of the default, with its tick format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.analysis.front import value_of
from autotune.analysis.replicates import Estimate
from autotune.analysis.text import metric_label
from autotune.domain import Measurement, Trial
from autotune.domain.metrics import METRICS, MetricKind, get_metric

MARGIN = 0.04
"""Space between the outermost marks and the ends of a limited axis, in units of their range."""
BAR_COLOUR = "rgba(128,128,128,0.7)"
Ends = tuple[float, float]
"""The lower and the upper end of an interval."""


@dataclass(frozen=True)
class Axis:
    """A metric on an axis. ``default`` is its value in the default if values are shown as multiples
    of that. ``limits`` are the ends of the axis, by default those that Plotly chooses."""

    metric: str
    default: float | None = None
    log: bool = False
    limits: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        if self.default is not None:
            return f"{metric_label(self.metric)} (times the default)"
        unit = METRICS[self.metric].unit if self.metric in METRICS else ""
        return (
            f"{metric_label(self.metric)} ({unit})"
            if unit not in ("", "ratio")
            else metric_label(self.metric)
        )

    @property
    def tick_format(self) -> dict[str, str]:
        """The format of ticks, for Plotly: shares in percent, dollars with their sign."""
        if self.default is not None:
            return {"tickformat": "~g", "ticksuffix": "x"}
        metric = get_metric(self.metric)
        if metric.kind is MetricKind.SHARE:
            return {"tickformat": ".2~%"}
        unit = metric.unit
        return {"tickformat": "~g", "tickprefix": "$"} if unit.startswith("USD") else {}

    def scale(self, value: float) -> float:
        return value / self.default if self.default else value

    def values(self, trials: Sequence[Trial]) -> list[float | None]:
        values = [value_of(trial, self.metric) for trial in trials]
        return [None if value is None else self.scale(value) for value in values]

    def zoomed(self, marked: Sequence[Trial], others: Sequence[Trial]) -> Axis:
        """The axis limited to the range of ``marked`` and as much again on both sides, as far as
        there are ``others``: a single outlier does not squeeze all else into a strip."""
        return self.zoomed_to(self.values(marked), self.values(others))

    def zoomed_to(
        self, marked: Sequence[float | None], others: Sequence[float | None] = ()
    ) -> Axis:
        """The same for values on the scale of the axis."""
        inner = [v for v in marked if v is not None]
        outer = [v for v in (*marked, *others) if v is not None]
        if self.log:
            inner, outer = ([math.log10(v) for v in values if v > 0] for values in (inner, outer))
        if not inner or min(inner) == max(inner):
            return self
        span = max(inner) - min(inner)
        low, high = max(min(outer), min(inner) - span), min(max(outer), max(inner) + span)
        margin = MARGIN * (high - low)
        ends = (low - margin, high + margin)
        return replace(self, limits=(10 ** ends[0], 10 ** ends[1]) if self.log else ends)

    def contains(self, trial: Trial) -> bool:
        """Whether the value of ``trial`` is on the axis; also if it was not measured."""
        (value,) = self.values([trial])
        return value is None or self.limits is None or self.limits[0] <= value <= self.limits[1]

    def intervals(self, estimates: Sequence[Measurement | Estimate | None]) -> list[Ends | None]:
        """The 95% intervals of ``estimates`` on the scale of the axis."""
        return [
            None if e is None or e.ci95 is None else (self.scale(e.ci95[0]), self.scale(e.ci95[1]))
            for e in estimates
        ]

    def is_beyond(self, interval: Ends | None) -> bool:
        """Whether an end of ``interval`` is beyond the limits of the axis."""
        return interval is not None and self.clip(interval) != interval

    def clip(self, interval: Ends) -> Ends:
        """The part of ``interval`` that is on the axis, up to shortly before its ends."""
        if self.limits is None:
            return interval
        low, high = map(math.log10, self.limits) if self.log else self.limits
        inset = MARGIN / 3 * (high - low)
        ends = (low + inset, high - inset)
        first, last = (10 ** ends[0], 10 ** ends[1]) if self.log else ends
        return max(interval[0], first), min(interval[1], last)

    def error_bars(
        self, trials: Sequence[Trial], intervals: Sequence[Ends | None], colour: str = BAR_COLOUR
    ) -> dict[str, object]:
        """Error bars from the marks of ``trials`` to the ends of their ``intervals``, within the
        limits of the axis; of length 0 where there is no interval."""
        clipped = [None if interval is None else self.clip(interval) for interval in intervals]
        lengths = error_lengths(self.values(trials), clipped)
        visible = any(length for side in lengths.values() for length in side)
        return {
            "type": "data", "thickness": 1, "width": 2, "color": colour, "visible": visible,
            **lengths,
        }  # fmt: skip

    def layout(self) -> dict[str, object]:
        """The settings of a Plotly axis."""
        settings: dict[str, object] = {"title": {"text": self.title}, **self.tick_format}
        if self.log:
            settings["type"] = "log"
        if self.limits is not None:
            ends = map(math.log10, self.limits) if self.log else self.limits
            return {**settings, "range": list(ends)}
        return settings if self.log else {**settings, "autorangeoptions": self._possible_range}

    @property
    def _possible_range(self) -> dict[str, float]:
        """What the range that Plotly chooses is clipped to: for a single trial it would reach one
        unit below and above."""
        kind = METRICS[self.metric].kind if self.metric in METRICS else None
        if kind is None or kind is MetricKind.CORRELATION:
            return {}
        is_share = kind is MetricKind.SHARE and self.default is None
        return {"clipmin": 0.0, **({"clipmax": 1.0} if is_share else {})}


def error_lengths(
    values: Sequence[float | None], intervals: Sequence[Ends | None]
) -> dict[str, list[float]]:
    """The lengths of error bars above and below ``values``, 0 where there is no interval, or where
    it lies on the other side of its value: the mean of several runs can be far from one of them."""
    pairs = [
        (max(interval[1] - value, 0.0), max(value - interval[0], 0.0))
        if value is not None and interval is not None
        else (0.0, 0.0)
        for value, interval in zip(values, intervals, strict=True)
    ]
    return {"array": [above for above, _ in pairs], "arrayminus": [below for _, below in pairs]}
