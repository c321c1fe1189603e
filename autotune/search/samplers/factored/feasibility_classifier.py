"""How likely a strategy is to run at all, by what became of strategies like it.

A Gaussian process on labels, +1 for what ran and -1 for what failed, squeezed through the normal
distribution. Source: Rasmussen and Williams (2006), section 6.5, least-squares classification.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.domain import PHASES, Phase, SearchSpace, Strategy
from autotune.levers import phase_levers
from autotune.search.samplers.factored.candidate_batch import CandidateBatch
from autotune.search.samplers.factored.encoding import Encoder, Ids, group
from autotune.search.samplers.factored.gaussian_process import (
    Floats,
    GaussianProcess,
    KernelParams,
    fit,
    prior,
)
from autotune.search.samplers.factored.observations import (
    Observations,
)
from autotune.search.samplers.factored.surrogates import due

NOISE, SLACK = 0.05, 0.05
POINTS = 100
"""Groups that ran, and groups that failed, that are looked at."""

RAN, FAILED = 1.0, -1.0
HOPELESS = 0.1
"""Chance below which a strategy is left for when nothing else is."""

SKIPPED_CHANCE = 0.1
"""Of a strategy whose speed group was predicted not to fit: it would be predicted so again."""


class FeasibilityClassifier:
    """Learns from failures. State is a cache: the trials decide."""

    def __init__(self, space: SearchSpace) -> None:
        self._encoders = {half: Encoder(space, phase_levers(half)) for half in PHASES}
        self._fitted: dict[Phase, tuple[tuple[str, ...], KernelParams]] = {}

    def chances(self, facts: Observations, pool: CandidateBatch) -> Floats:
        """Probability, shape (candidates,), that each candidate runs."""
        found = np.ones(len(pool.strategies))
        for half in PHASES:
            if any(failure.half == half for failure in facts.failures):
                found *= self._chance(half, facts, pool)
        if facts.skipped:
            skipped = {group(s, phase_levers(Phase.PROFILE)) for s in facts.skipped.values()}
            part = pool.factors[Phase.PROFILE]
            again = np.array([place in skipped for place in part.groups])[part.index]
            found = np.where(again, SKIPPED_CHANCE * found, found)
        return found

    def _chance(self, half: Phase, facts: Observations, pool: CandidateBatch) -> Floats:
        from scipy.special import ndtr

        encoder, part = self._encoders[half], pool.factors[half]
        good = _groups(half, [strategy for _, strategy in sorted(facts.passed.items())])
        bad = _groups(half, [f.strategy for f in facts.failures if f.half == half])
        hyper = self._hyper(half, good[: min(due(len(good)), POINTS)], bad[:POINTS])
        ids, labels = self._data(half, good[-POINTS:], bad[-POINTS:])
        process = GaussianProcess(encoder.axes, ids, labels, np.zeros(len(labels)), hyper)
        mean, deviation = process.predict(encoder.encode(part.members))
        chance = np.asarray(ndtr((mean + RAN) / np.sqrt(SLACK + deviation**2)))
        return np.where(chance < HOPELESS, 0.0, chance)[part.index]

    def _hyper(
        self, half: Phase, good: Sequence[Strategy], bad: Sequence[Strategy]
    ) -> KernelParams:
        """Fitted anew with every failure, and as the groups that ran grow by a third."""
        key = tuple(strategy.key for strategy in (*good, *bad))
        cached = self._fitted.get(half)
        if cached is not None and cached[0] == key:
            return cached[1]
        axes = self._encoders[half].axes
        ids, labels = self._data(half, good, bad)
        hyper = fit(axes, ids, labels, np.zeros(len(labels)), prior(len(axes), NOISE))
        self._fitted[half] = key, hyper
        return hyper

    def _data(
        self, half: Phase, good: Sequence[Strategy], bad: Sequence[Strategy]
    ) -> tuple[Ids, Floats]:
        """Levels, and labels as they differ from what is expected: that a strategy runs."""
        labels = np.array([0.0] * len(good) + [FAILED - RAN] * len(bad))
        return self._encoders[half].encode([*good, *bad]), labels


def _groups(half: Phase, strategies: Sequence[Strategy]) -> list[Strategy]:
    """One of each group, in the order in which groups came."""
    return list({group(s, phase_levers(half)): s for s in strategies}.values())
