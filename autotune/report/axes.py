"""Axes of plots: a metric, as measured or as multiples of the default, with its tick format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.analysis.front import value_of
from autotune.analysis.replicates import Estimate
from autotune.analysis.text import metric_label
from autotune.domain import Measurement, Trial
from autotune.domain.metrics import METRICS, MetricKind


@dataclass(frozen=True)
class Axis:
    """A metric on an axis. ``default`` is its value in the default if values are shown as multiples
    of that."""

    metric: str
    default: float | None = None
    log: bool = False

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
        unit = METRICS[self.metric].unit if self.metric in METRICS else ""
        if unit == "ratio":
            return {"tickformat": ".0%"}
        return {"tickformat": "~g", "tickprefix": "$"} if unit.startswith("USD") else {}

    def scale(self, value: float) -> float:
        return value / self.default if self.default else value

    def values(self, trials: Sequence[Trial]) -> list[float | None]:
        values = [value_of(trial, self.metric) for trial in trials]
        return [None if value is None else self.scale(value) for value in values]

    def error_bars(self, estimates: Sequence[Measurement | Estimate | None]) -> dict[str, object]:
        """Error bars from the 95% intervals; of length 0 where there is none."""
        lengths = error_lengths(
            [None if e is None else self.scale(e.value) for e in estimates],
            [
                None
                if e is None or e.ci95 is None
                else (self.scale(e.ci95[0]), self.scale(e.ci95[1]))
                for e in estimates
            ],
        )
        visible = any(length for side in lengths.values() for length in side)
        return {
            "type": "data", "thickness": 1, "width": 2, "color": "rgba(128,128,128,0.7)",
            "visible": visible, **lengths,
        }  # fmt: skip

    def layout(self) -> dict[str, object]:
        """The settings of a Plotly axis."""
        settings: dict[str, object] = {"title": {"text": self.title}, **self.tick_format}
        if self.log:
            return {**settings, "type": "log"}
        return {**settings, "autorangeoptions": self._possible_range}

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
    values: Sequence[float | None], intervals: Sequence[tuple[float, float] | None]
) -> dict[str, list[float]]:
    """The lengths of error bars above and below ``values``, 0 where there is no interval."""
    pairs = [
        (interval[1] - value, value - interval[0])
        if value is not None and interval is not None
        else (0.0, 0.0)
        for value, interval in zip(values, intervals, strict=True)
    ]
    return {"array": [above for above, _ in pairs], "arrayminus": [below for _, below in pairs]}
