"""Student's t distribution of an estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotune.measure.statistics import t_probability, t_quantile


@dataclass(frozen=True)
class StudentT:
    """A Student's t distribution; with ``degrees`` ``inf`` a normal one."""

    location: float
    scale: float
    degrees: float = math.inf

    @property
    def ci95(self) -> tuple[float, float]:
        half = t_quantile(max(1, int(min(self.degrees, 1e6))))
        return self.location - half * self.scale, self.location + half * self.scale

    def probability_above(self, bound: float) -> float:
        """The probability of a value above ``bound``; 0.5 at the location."""
        if self.scale == 0:
            return 0.5 if self.location == bound else float(self.location > bound)
        return t_probability((self.location - bound) / self.scale, self.degrees)
