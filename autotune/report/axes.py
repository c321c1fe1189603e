"""What an axis shows: a metric, as measured or in units of the default, and how it is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.analysis.front import value_of
from autotune.analysis.replicates import Estimate
from autotune.domain import Measurement, Trial
from autotune.domain.metrics import METRICS


def label(metric: str) -> str:
    """The metric in words, its name where the catalogue does not know it."""
    known = METRICS.get(metric)
    return known.label if known is not None else metric


@dataclass(frozen=True)
class Axis:
    """``default`` is set where values are shown as multiples of the default's."""

    metric: str
    default: float | None = None
    log: bool = False

    @property
    def title(self) -> str:
        if self.default is not None:
            return f"{label(self.metric)} (times the default)"
        unit = METRICS[self.metric].unit if self.metric in METRICS else ""
        return f"{label(self.metric)} ({unit})" if unit not in ("", "ratio") else label(self.metric)

    @property
    def numbers(self) -> dict[str, str]:
        """How Plotly writes the values."""
        if self.default is not None:
            return {"tickformat": "~g", "ticksuffix": "x"}
        unit = METRICS[self.metric].unit if self.metric in METRICS else ""
        if unit == "ratio":
            return {"tickformat": ".0%"}
        return {"tickformat": "~g", "tickprefix": "$"} if unit.startswith("USD") else {}

    def scale(self, value: float) -> float:
        return value / self.default if self.default else value

    def values(self, trials: Sequence[Trial]) -> list[float | None]:
        found = [value_of(trial, self.metric) for trial in trials]
        return [None if value is None else self.scale(value) for value in found]

    def errors(self, found: Sequence[Measurement | Estimate | None]) -> dict[str, object]:
        """Error bars from the 95% intervals, nothing where there is none."""
        above: list[float] = []
        below: list[float] = []
        for known in found:
            low, high = (None, None) if known is None else known.ci95 or (None, None)
            if known is None or low is None or high is None:
                above, below = [*above, 0.0], [*below, 0.0]
            else:
                above.append(self.scale(high - known.value))
                below.append(self.scale(known.value - low))
        return {
            "type": "data", "array": above, "arrayminus": below, "thickness": 1, "width": 2,
            "color": "rgba(128,128,128,0.7)", "visible": any(above) or any(below),
        }  # fmt: skip

    def layout(self) -> dict[str, object]:
        """Settings of a Plotly axis."""
        settings: dict[str, object] = {"title": {"text": self.title}, **self.numbers}
        return {**settings, "type": "log"} if self.log else settings
