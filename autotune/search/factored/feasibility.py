"""How likely a strategy is to run at all, by what became of strategies like it.

A Gaussian process on labels, +1 for what ran and -1 for what failed, squeezed through the normal
distribution. Source: Rasmussen and Williams (2006), section 6.5, least-squares classification.
"""

from __future__ import annotations

import numpy as np

from autotune.domain import Space, Strategy
from autotune.search.factored.encoding import Encoder, group
from autotune.search.factored.facts import BOTH, HALVES, Facts, Half
from autotune.search.factored.models import Floats, Process, prior
from autotune.search.factored.pool import Pool

NOISE, SLACK = 0.05, 0.2
POINTS = 200
SKIPPED_CHANCE = 0.1
"""Of a strategy whose speed group was predicted not to fit: it would be predicted so again."""


def chances(space: Space, facts: Facts, pool: Pool) -> Floats:
    """Probability, shape (candidates,), that each candidate runs."""
    found = np.ones(len(pool.strategies))
    for half in BOTH:
        failed = [f.strategy for f in facts.failures if f.half == half]
        if failed:
            found *= _chance(space, half, failed, facts, pool)
    if facts.skipped:
        skipped = {group(s, HALVES["speed"]) for s in facts.skipped.values()}
        part = pool.parts["speed"]
        found *= np.where([g in skipped for g in part.groups], SKIPPED_CHANCE, 1.0)[part.index]
    return found


def _chance(space: Space, half: Half, failed: list[Strategy], facts: Facts, pool: Pool) -> Floats:
    from scipy.special import ndtr

    good = {group(s, HALVES[half]): s for _, s in sorted(facts.passed.items())}
    bad = {group(s, HALVES[half]): s for s in failed}
    members = [*list(good.values())[-POINTS:], *list(bad.values())[-POINTS:]]
    labels = np.array([0.0] * min(len(good), POINTS) + [-2.0] * min(len(bad), POINTS))
    encoder = Encoder(space, HALVES[half])
    ids, part = encoder.encode(members), pool.parts[half]
    asked = encoder.encode(part.members)
    process = Process(
        encoder.axes, ids, labels, np.zeros(len(labels)), prior(len(encoder.axes), NOISE)
    )
    mean, deviation = process.predict(asked)
    return np.asarray(ndtr((1 + mean) / np.sqrt(SLACK + deviation**2)))[part.index]
