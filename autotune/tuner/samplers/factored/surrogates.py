"""Surrogate models of all quantities: Gaussian processes over the levers of a phase.

Values are modelled relative to a prior mean. A speed or latency is expected to be proportional to
the floating-point operations per sample, so a surrogate models only the deviation from that. Thus
pruning is tried early, since it saves operations, and activation checkpointing late, since it
repeats some; where the hardware does not follow the operations, the first measurements show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from autotune.analysis.observations import SHARED_SCORE_VARIANCE
from autotune.domain import Phase, SearchSpace, Strategy, Study, WorkloadProfile
from autotune.domain.metrics import METRICS, MetricKind
from autotune.levers import phase_levers
from autotune.levers.priors import (
    ACCURACY_EFFECTS,
    Effects,
    accuracy_effects,
    accuracy_log_odds,
    effect_deviation,
)
from autotune.tuner.feasibility.flops import inference_flops, training_flops
from autotune.tuner.samplers.factored.encoding import Encoder, GroupKey, LevelIds
from autotune.tuner.samplers.factored.gaussian_process import (
    Floats,
    GaussianProcess,
    KernelParams,
    Residuals,
    fit_params,
    prior_params,
)
from autotune.tuner.samplers.factored.observations import SAMPLES, Observation

MAX_OBSERVATIONS = 200
"""Observations of a Gaussian process."""

MAX_FIT_OBSERVATIONS = 96
"""Observations to which kernel parameters are fitted."""

REFIT_COUNTS = tuple(sorted({round(2 * 1.3**step) for step in range(16)} | {1, 2, 3, 4, 5}))
"""Numbers of observations at which kernel parameters are fitted again."""

SHARE_LIMITS = (0.002, 0.998)
"""Shares are clipped to these limits before their log-odds are taken."""

MIN_VARIANCE = 1e-4
"""Least prior variance of a kernel dimension."""

LOG_SCALE, LOGIT_SCALE = 0.5, 1.2
"""Prior standard deviations of logarithms and log-odds."""

NOISE_VARIANCE = {"log": 0.01, "logit": 0.02, "linear": 0.01}
"""Prior median of the noise variance by kind of transform, in squared units of its scale."""

SEED_VARIANCE = 0.08**2
"""Variance of log-odds between seeds of one strategy, beside that of the finite sample: about one
point at an accuracy of 85%."""

TRANSFERRED_VARIANCE = 0.1
"""Variance of values measured on another host, in squared units of the scale."""

FLOPS: Mapping[str, Callable[[WorkloadProfile, Strategy], float]] = {
    "training": training_flops,
    "inference": inference_flops,
}
"""Operations per sample, by the ``proportional_to`` of a metric's record."""

GroupObservations = Sequence[tuple[GroupKey, Observation]]


class PriorMean:
    """Prior means for a workload; constant without a ``workload``.

    Speeds and latencies are proportional to floating-point operations, the log-odds of accuracy
    include the known effects of levers.
    """

    def __init__(
        self, workload: WorkloadProfile | None, effects: Effects = ACCURACY_EFFECTS
    ) -> None:
        self._workload, self._effects = workload, effects
        self._means: dict[str, dict[GroupKey, float]] = {}
        self._log_odds: dict[GroupKey, float] = {}

    def values(
        self, quantity: str, groups: Sequence[GroupKey], members: Sequence[Strategy]
    ) -> Floats:
        """Prior means up to a constant factor, shape (groups,), computed for one member of each
        group. All 1 for quantities without a prior."""
        metric = METRICS.get(quantity)
        if self._workload is None or metric is None or metric.proportional_to is None:
            return np.ones(len(members))
        means, flops = self._means.setdefault(quantity, {}), FLOPS[metric.proportional_to]
        exponent = -1.0 if metric.is_rate else 1.0
        for group, member in zip(groups, members, strict=True):
            if group not in means:
                means[group] = flops(self._workload, member) ** exponent
        return np.array([means[group] for group in groups])

    def log_odds(
        self, quantity: str, groups: Sequence[GroupKey], members: Sequence[Strategy]
    ) -> Floats:
        """Prior log-odds of a share up to a constant, shape (groups,); 0 for other quantities."""
        metric = METRICS.get(quantity)
        if self._workload is None or metric is None or metric.kind is not MetricKind.SHARE:
            return np.zeros(len(members))
        for group, member in zip(groups, members, strict=True):
            if group not in self._log_odds:
                self._log_odds[group] = accuracy_log_odds(member, self._workload, self._effects)
        return np.array([self._log_odds[group] for group in groups])


@dataclass(frozen=True)
class Transform:
    """Between a quantity and the scale on which the effects of levers are additive. ``kind`` is
    ``log``, ``logit`` or ``linear``."""

    kind: str
    scale: float
    center: float = 0.0

    def forward(self, values: Floats) -> Floats:
        if self.kind == "log":
            values = np.log(values)
        elif self.kind == "logit":
            clipped = np.clip(values, *SHARE_LIMITS)
            values = np.log(clipped / (1 - clipped))
        return (values - self.center) / self.scale

    def inverse(self, values: Floats) -> Floats:
        values = values * self.scale + self.center
        if self.kind == "log":
            return np.asarray(np.exp(np.clip(values, -60, 60)))
        return np.asarray(1 / (1 + np.exp(-values))) if self.kind == "logit" else values

    def sampling_variance(self, values: Floats, counts: Floats) -> Floats:
        """Binomial variance of shares of ``counts`` samples on the transformed scale; 0 for other
        quantities."""
        if self.kind != "logit":
            return np.zeros(len(values))
        share = np.clip(values, 0.5 / counts, 1 - 0.5 / counts)
        return np.asarray(1 / (counts * share * (1 - share)) / self.scale**2)


def choose_transform(quantity: str, values: Floats, log_odds: Floats) -> Transform:
    """The transform for a quantity with these observed values and prior log-odds, centred on the
    mean of their difference."""
    is_share = quantity in METRICS and METRICS[quantity].kind is MetricKind.SHARE
    if is_share and values.min() >= 0 and values.max() <= 1:
        kind, scale = "logit", LOGIT_SCALE
    elif values.min() > 0:
        kind, scale = "log", LOG_SCALE
    else:
        kind, scale = "linear", float(np.std(values)) or abs(float(values[0])) or 1.0
    uncentered = Transform(kind, scale)
    centered = uncentered.forward(values) - log_odds / scale
    return Transform(kind, scale, float(np.mean(centered)) * scale)


@dataclass(frozen=True)
class MeasuredScores:
    """The groups that measured a score, their prior log-odds, and the variances of the errors of
    the measurements on the transformed scale, each of shape (groups,)."""

    groups: Sequence[GroupKey]
    log_odds: Floats
    error_variances: Floats


@dataclass(frozen=True)
class Surrogate:
    """The posterior of one quantity relative to its prior mean."""

    transform: Transform
    process: GaussianProcess | None = None
    """``None`` for a constant."""
    scores: MeasuredScores | None = None
    """``None`` for quantities that are no scores."""

    def sample(
        self, ids: LevelIds, normal: Floats, log_odds: Floats, *, with_residuals: bool = False
    ) -> Floats:
        """Samples, shape (strategies, samples), from standard normal numbers (samples,), around the
        prior ``log_odds`` of the strategies. Samples of different strategies are perfectly
        correlated. ``with_residuals``: of true scores, not of the effects of the levers alone."""
        if self.process is None:
            constant = self.transform.inverse(np.zeros(1))[0]
            return np.full((len(ids), len(normal)), constant)
        mean, deviation = self.process.predict(ids, with_residuals=with_residuals)
        mean = mean + log_odds / self.transform.scale
        return self.transform.inverse(mean[:, None] + deviation[:, None] * normal[None, :])

    def true_scores(self, normals: Callable[[GroupKey], Floats]) -> dict[GroupKey, Floats]:
        """Samples, shape (samples,), of the true score of each group that measured it, from the
        standard normal numbers of the group; empty for quantities that are no scores."""
        if self.process is None or self.scores is None:
            return {}
        mean, deviation = self.process.denoise(self.scores.error_variances)
        mean = mean + self.scores.log_odds / self.transform.scale
        return {
            group: self.transform.inverse(mean[row] + deviation[row] * normals(group))
            for row, group in enumerate(self.scores.groups)
        }


class Surrogates:
    """Creates the surrogates of one study and caches their kernel parameters."""

    def __init__(
        self,
        space: SearchSpace,
        workload: WorkloadProfile | None = None,
        effects: Effects = ACCURACY_EFFECTS,
    ) -> None:
        self.prior_mean, self._effects = PriorMean(workload, effects), effects
        self.encoders = {phase: Encoder(space, phase_levers(phase)) for phase in Phase}
        self._level_ids: dict[tuple[Phase, int], LevelIds] = {}
        self._params: dict[tuple[Phase, str, tuple[tuple[int, float], ...]], KernelParams] = {}

    def fit(self, phase: Phase, quantity: str, observations: GroupObservations) -> Surrogate | None:
        """The surrogate of ``quantity``, fitted to the ``observations`` that have it; ``None``
        without any."""
        having = [(key, o) for key, o in observations if quantity in o.values]
        if not having:
            return None
        if quantity == SAMPLES:  # in units of the lever value to which it is proportional
            constant = median(observation.values[quantity] for _, observation in having)
            return Surrogate(Transform("linear", 1.0, constant))
        params = self._fit_params(phase, quantity, having)
        subset = _subsample(having, MAX_OBSERVATIONS)
        ids, values, variances, transform = self._training_data(phase, quantity, subset)
        encoder = self.encoders[phase]
        if transform.kind != "logit":
            process = GaussianProcess(encoder.kernel_dimensions, ids, values, variances, params)
            return Surrogate(transform, process)
        groups = [key for key, _ in subset]
        log_odds = self.prior_mean.log_odds(quantity, groups, [o.strategy for _, o in subset])
        seed_variance = min(SEED_VARIANCE / transform.scale**2, params.noise_variance)
        residuals = Residuals(params.noise_variance - seed_variance, encoder.discrete_columns)
        process = GaussianProcess(
            encoder.kernel_dimensions, ids, values, variances, params, residuals
        )
        errors = variances + seed_variance / np.array([o.runs for _, o in subset])
        return Surrogate(transform, process, MeasuredScores(groups, log_odds, errors))

    def _training_data(
        self, phase: Phase, quantity: str, observations: GroupObservations
    ) -> tuple[LevelIds, Floats, Floats, Transform]:
        """Levels, transformed values, their known variances, and the transform."""
        keys, members = [key for key, _ in observations], [o for _, o in observations]
        raw = np.array([o.values[quantity] for o in members])
        raw = raw / self.prior_mean.values(quantity, keys, [o.strategy for o in members])
        counts = np.array([max(o.n.get(quantity, 1), 1) for o in members], dtype=float)
        log_odds = self.prior_mean.log_odds(quantity, keys, [o.strategy for o in members])
        transform = choose_transform(quantity, raw, log_odds)
        ids = np.array([self._encode(phase, o) for o in members])
        transferred = np.array([o.is_transferred for o in members])
        # All strategies are evaluated on the same samples, so a part of this error is common.
        variances = transform.sampling_variance(raw, counts) * (1 - SHARED_SCORE_VARIANCE)
        variances = variances + np.where(transferred, TRANSFERRED_VARIANCE, 0.0)
        return ids, transform.forward(raw) - log_odds / transform.scale, variances, transform

    def _encode(self, phase: Phase, observation: Observation) -> LevelIds:
        key = phase, observation.number
        if key not in self._level_ids:
            self._level_ids[key] = self.encoders[phase].encode([observation.strategy])[0]
        return self._level_ids[key]

    def _fit_params(
        self, phase: Phase, quantity: str, observations: GroupObservations
    ) -> KernelParams:
        """Parameters fitted to the observations up to the latest refit."""
        subset = _subsample(observations[: fit_count(len(observations))], MAX_FIT_OBSERVATIONS)
        # Values change with replicates and with another trial of the default; a resumed search
        # would fit by them.
        key = phase, quantity, tuple((o.number, o.values[quantity]) for _, o in subset)
        if key not in self._params:
            ids, values, variances, transform = self._training_data(phase, quantity, subset)
            dimensions = self.encoders[phase].kernel_dimensions
            prior = prior_params(len(dimensions), NOISE_VARIANCE[transform.kind])
            if transform.kind == "logit":
                prior = replace(prior, variances=self._score_variances(phase))
            self._params[key] = fit_params(dimensions, ids, values, variances, prior)
        return self._params[key]

    def _score_variances(self, phase: Phase) -> Floats:
        """Prior medians of the variances of the kernel dimensions of a score: the squares of the
        expected effects of the levers."""
        encoder, variances = self.encoders[phase], []
        named = zip(encoder.dimension_settings(), encoder.kernel_dimensions, strict=True)
        for (name, values), dimension in named:
            deviation = effect_deviation(name, values, self._effects) / LOGIT_SCALE
            # Two levels without positions differ by twice the variance.
            variances.append(max(deviation**2 / (1 if dimension.is_numeric else 2), MIN_VARIANCE))
        return np.array(variances)


def make_surrogates(study: Study, workload: WorkloadProfile | None) -> Surrogates:
    """The surrogates of ``study``, with the effects of levers that it states."""
    effects = accuracy_effects(study.sampler.priors, study.space.defaults)
    return Surrogates(study.space, workload, effects)


def fit_count(count: int) -> int:
    """The number of the first ``count`` observations to which kernel parameters are fitted."""
    return max((size for size in REFIT_COUNTS if size <= count), default=0)


def _subsample(observations: GroupObservations, max_count: int) -> GroupObservations:
    """All, or the ``max_count / 2`` latest and as many evenly spaced earlier ones."""
    if len(observations) <= max_count:
        return observations
    early, late = observations[: -max_count // 2], observations[-max_count // 2 :]
    indices = np.linspace(0, len(early) - 1, max_count - len(late)).round().astype(int)
    return [*(early[index] for index in dict.fromkeys(indices.tolist())), *late]
