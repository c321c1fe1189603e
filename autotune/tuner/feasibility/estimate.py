"""A log-normal estimate of a positive quantity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

COVERAGE = 0.9
TAIL = NormalDist().inv_cdf(0.5 + COVERAGE / 2)


@dataclass(frozen=True)
class LogNormalEstimate:
    """A quantity whose logarithm is normal with mean ``log(value)`` and standard deviation
    ``sigma``."""

    value: float
    sigma: float

    @property
    def low(self) -> float:
        """Lower end of the 90% interval."""
        return self.value * math.exp(-TAIL * self.sigma)

    @property
    def high(self) -> float:
        """Upper end of the 90% interval."""
        return self.value * math.exp(TAIL * self.sigma)

    def probability_below(self, limit: float) -> float:
        """The probability that the quantity is below ``limit``."""
        if limit <= 0:
            return 0.0
        return NormalDist().cdf(math.log(limit / self.value) / self.sigma)
