"""The difference of a score between two strategies that ran with equal seeds on equal examples.

With ``d[s, i]`` the difference on example ``i`` with seed ``s``, the estimate is the mean of ``d``.
Examples and seeds are crossed random effects. The error is the sum of

- that of the choice of examples: the variance of the means over seeds of each example, over the
  number of examples, with the correction of Agresti and Min (2005) for few discordant examples
  where an example is right or wrong;
- that of the choice of seeds: twice the variance between the seeds of one strategy, over the number
  of seeds. It is pooled over strategies, since each has few seeds, and without the noise of the
  examples, which the first part contains.

Degrees of freedom follow Satterthwaite (1946). ``tests/analysis/test_crossed_effects.py`` simulates
the coverage of 95% intervals of four strategies: 95 to 97% with two or three seeds. With one seed
the variance between seeds follows from test and validation scores, and the coverage is 94 to 98%.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.student_t import StudentT

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SeedVariance:
    """Variance of a score between the seeds of one strategy: ``net`` without the noise of the
    examples. ``uncertain`` is the part of the error that was estimated with ``degrees`` degrees of
    freedom."""

    net: float
    uncertain: float
    degrees: int


def example_difference(
    difference: Floats, seeds: SeedVariance | None, *, of_hits: bool = True
) -> StudentT:
    """The mean of ``difference`` of shape (seeds, examples), with its error. ``of_hits``: whether
    it is that of right and wrong examples, or of their contributions to another score."""
    count, examples = difference.shape
    means = difference.mean(axis=0)
    value = float(means.mean())
    squares = float(((means - value) ** 2).sum()) + (1 / count if of_hits else 0.0)
    from_examples = squares / (examples * (examples + 2))
    if seeds is None:
        return StudentT(value, math.sqrt(from_examples))
    total = from_examples + 2 * max(seeds.net, 0.0) / count
    uncertain = 2 * seeds.uncertain / count
    degrees = seeds.degrees * (total / uncertain) ** 2 if uncertain > 0 else math.inf
    return StudentT(value, math.sqrt(total), degrees)


def pooled_seed_variance(groups: Sequence[Floats]) -> SeedVariance:
    """The variance of the score between seeds, from the ``hits`` (seeds, examples), or other
    contributions of examples, of several strategies, each with at least two seeds."""
    degrees = [len(hits) - 1 for hits in groups]
    between = [float(hits.mean(axis=1).var(ddof=1)) for hits in groups]
    noise = [
        (float(hits.var(axis=0, ddof=1).mean()) - total) / (hits.shape[1] - 1)
        for hits, total in zip(groups, between, strict=True)
    ]
    gross, of_examples = (float(np.average(v, weights=degrees)) for v in (between, noise))
    return SeedVariance(gross - of_examples, gross, sum(degrees))


def validated_seed_variance(
    hits: Floats, validation: Sequence[float], validation_examples: float
) -> SeedVariance:
    """The variance of a score between seeds, from one run of each strategy on the test split, with
    ``hits`` (strategies, examples), and the score of another run on validation.

    The difference of both scores varies between strategies with twice this variance, and with the
    noise of the examples on which two strategies differ.
    """
    examples = hits.shape[1]
    differences = (hits.mean(axis=1) - np.array(validation)).tolist()
    pairs = [float((a - b).var(ddof=1)) / examples for a, b in combinations(hits, 2)]
    noise = fmean(pairs) / 2 * (1 + examples / validation_examples)
    net = max(variance(differences) - noise, 0.0) / 2
    return SeedVariance(net, net, len(hits) - 1)
