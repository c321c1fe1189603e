"""A number that is not known yet, and how far it may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

INTERVAL = 0.9
TAIL = NormalDist().inv_cdf(0.5 + INTERVAL / 2)


@dataclass(frozen=True)
class LogNormalEstimate:
    """A positive number whose logarithm has a standard deviation of ``spread`` around ``value``."""

    value: float
    spread: float

    @property
    def low(self) -> float:
        """Lower end of the 90% interval."""
        return self.value * math.exp(-TAIL * self.spread)

    @property
    def high(self) -> float:
        """Upper end of the 90% interval."""
        return self.value * math.exp(TAIL * self.spread)

    def below(self, limit: float) -> float:
        """The probability that the number turns out below ``limit``."""
        if limit <= 0:
            return 0.0
        return NormalDist().cdf(math.log(limit / self.value) / self.spread)
