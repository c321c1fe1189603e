"""The models of all leaves: what each group will measure, as joint draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from autotune.domain import Phase, SearchSpace, WorkloadProfile
from autotune.domain.metrics import METRICS, MetricKind
from autotune.levers import phase_levers
from autotune.search.samplers.factored.encoding import Encoder, Ids
from autotune.search.samplers.factored.gaussian_process import (
    Floats,
    GaussianProcess,
    KernelParams,
    fit,
    prior,
)
from autotune.search.samplers.factored.observations import (
    SAMPLES,
    Group,
    Observation,
)
from autotune.search.samplers.factored.prior_mean import FlopsPriorMean

POINTS = 200
"""Measurements that a process rests on at most."""

FITTED = 96
"""Measurements that hyper-parameters are fitted to at most."""

REFIT = tuple(sorted({round(2 * 1.3**step) for step in range(16)} | {1, 2, 3, 4, 5}))
"""Numbers of measurements at which hyper-parameters are fitted anew."""

CERTAIN = (0.002, 0.998)
"""Log-odds of shares beyond are taken to be no farther out."""

LOG_SCALE, LOGIT_SCALE = 0.5, 1.2
"""By how much quantities are expected to spread, in the space in which they are modelled."""

NOISE = {"log": 0.01, "logit": 0.02, "plain": 0.01}
"""Prior median of the variance of the noise, in squared units of the scale."""


HINT_VARIANCE = 0.1
"""Of what another machine measured, in squared units of the scale."""


@dataclass(frozen=True)
class Transform:
    """From a quantity to the space where levers add up, and back."""

    kind: str
    scale: float
    centre: float = 0.0

    def forward(self, values: Floats) -> Floats:
        if self.kind == "log":
            values = np.log(values)
        elif self.kind == "logit":
            clipped = np.clip(values, *CERTAIN)
            values = np.log(clipped / (1 - clipped))
        return (values - self.centre) / self.scale

    def back(self, values: Floats) -> Floats:
        values = values * self.scale + self.centre
        if self.kind == "log":
            return np.asarray(np.exp(np.clip(values, -60, 60)))
        return np.asarray(1 / (1 + np.exp(-values))) if self.kind == "logit" else values

    def variance(self, values: Floats, counts: Floats) -> Floats:
        """Of a share of ``counts`` examples, by the binomial distribution."""
        if self.kind != "logit":
            return np.zeros(len(values))
        share = np.clip(values, 0.5 / counts, 1 - 0.5 / counts)
        return np.asarray(1 / (counts * share * (1 - share)) / self.scale**2)


def _is_share(leaf: str) -> bool:
    return leaf in METRICS and METRICS[leaf].kind is MetricKind.SHARE


def transform(leaf: str, values: Floats) -> Transform:
    """How to model a leaf whose measured ``values`` these are."""
    if _is_share(leaf) and values.min() >= 0 and values.max() <= 1:
        kind, scale = "logit", LOGIT_SCALE
    elif values.min() > 0:
        kind, scale = "log", LOG_SCALE
    else:
        kind, scale = "plain", float(np.std(values)) or abs(float(values[0])) or 1.0
    plain = Transform(kind, scale)
    return Transform(kind, scale, float(np.mean(plain.forward(values))) * scale)


@dataclass(frozen=True)
class Surrogate:
    """A fitted process of one leaf, in units of what is expected of it."""

    transform: Transform
    process: GaussianProcess | None = None
    """``None`` for what is the same everywhere."""

    def draws(self, ids: Ids, normal: Floats) -> Floats:
        """Shape (strategies, draws), given standard normal numbers (draws,)."""
        if self.process is None:
            return np.full((len(ids), len(normal)), self.transform.back(np.zeros(1))[0])
        mean, deviation = self.process.predict(ids)
        return self.transform.back(mean[:, None] + deviation[:, None] * normal[None, :])


class Surrogates:
    """Makes and keeps the models of one study."""

    def __init__(self, space: SearchSpace, anatomy: WorkloadProfile | None = None) -> None:
        self.expectations = FlopsPriorMean(anatomy)
        self.encoders = {half: Encoder(space, phase_levers(half)) for half in Phase}
        self._encoded: dict[tuple[Phase, int], Ids] = {}
        self._hypers: dict[tuple[Phase, str, tuple[int, ...]], KernelParams] = {}

    def of(
        self, half: Phase, leaf: str, facts: Sequence[tuple[Group, Observation]]
    ) -> Surrogate | None:
        """The model of ``leaf`` from those of ``facts`` that have it, in units of what is expected
        of it; ``None`` without any."""
        having = [(place, fact) for place, fact in facts if leaf in fact.values]
        if not having:
            return None
        if leaf == SAMPLES:  # counted in what it is proportional to
            return Surrogate(Transform("plain", 1.0, median(f.values[leaf] for _, f in having)))
        hyper = self._hyper(half, leaf, having)
        ids, values, variances, shape = self._data(half, leaf, _thinned(having, POINTS))
        return Surrogate(
            shape, GaussianProcess(self.encoders[half].axes, ids, values, variances, hyper)
        )

    def _data(
        self, half: Phase, leaf: str, having: Sequence[tuple[Group, Observation]]
    ) -> tuple[Ids, Floats, Floats, Transform]:
        facts = [fact for _, fact in having]
        raw = np.array([fact.values[leaf] for fact in facts])
        members = [fact.strategy for fact in facts]
        raw = raw / self.expectations.of(leaf, [place for place, _ in having], members)
        counts = np.array([max(fact.n.get(leaf, 1), 1) for fact in facts], dtype=float)
        shape = transform(leaf, raw)
        ids = np.array([self._levels(half, fact) for fact in facts])
        hints = np.array([fact.transferred for fact in facts])
        variances = shape.variance(raw, counts) + np.where(hints, HINT_VARIANCE, 0.0)
        return ids, shape.forward(raw), variances, shape

    def _levels(self, half: Phase, fact: Observation) -> Ids:
        key = half, fact.number
        if key not in self._encoded:
            self._encoded[key] = self.encoders[half].encode([fact.strategy])[0]
        return self._encoded[key]

    def _hyper(
        self, half: Phase, leaf: str, having: Sequence[tuple[Group, Observation]]
    ) -> KernelParams:
        """Fitted to the first so many measurements, as of the last refit that was due."""
        first = _thinned(having[: due(len(having))], FITTED)
        key = half, leaf, tuple(fact.number for _, fact in first)
        found = self._hypers.get(key)
        if found is None:
            ids, values, variances, shape = self._data(half, leaf, first)
            axes = self.encoders[half].axes
            start = prior(len(axes), NOISE[shape.kind])
            found = self._hypers[key] = fit(axes, ids, values, variances, start)
        return found


def due(count: int) -> int:
    """The number of measurements, of ``count``, that hyper-parameters are fitted to."""
    return max((size for size in REFIT if size <= count), default=0)


def _thinned(
    facts: Sequence[tuple[Group, Observation]], most: int
) -> Sequence[tuple[Group, Observation]]:
    """All, or the latest half and as many of the others, evenly spread."""
    if len(facts) <= most:
        return facts
    early, late = facts[: -most // 2], facts[-most // 2 :]
    places = np.linspace(0, len(early) - 1, most - len(late)).round().astype(int)
    return [*(early[place] for place in dict.fromkeys(places.tolist())), *late]
