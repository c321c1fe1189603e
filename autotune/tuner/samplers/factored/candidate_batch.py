"""Candidates with posterior samples of their metrics and the time that their trials would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Phase, Strategy
from autotune.levers import phase_levers
from autotune.tuner.samplers.factored.encoding import GroupKey, LevelIds, group_key
from autotune.tuner.samplers.factored.gaussian_process import Floats
from autotune.tuner.samplers.factored.observations import (
    DEPLOY_SECONDS,
    POWER,
    SAMPLES,
    SECONDS,
    SETUP,
    SPEED,
)
from autotune.tuner.samplers.factored.posterior import Posterior, score_phase

INITIAL_DEPLOY_SECONDS = 10.0
"""Assumed seconds of the deploy phase, before any was measured."""


@dataclass(frozen=True)
class PhaseFactor:
    """The groups of one phase among the candidates, one member of each, and the ``index`` of each
    candidate's group, shape (candidates,)."""

    groups: tuple[GroupKey, ...]
    members: tuple[Strategy, ...]
    index: NDArray[np.int64]


def factor_by_phase(strategies: Sequence[Strategy], phase: Phase) -> PhaseFactor:
    """``strategies`` grouped by the levers of ``phase``."""
    levers = phase_levers(phase)
    group_indices: dict[GroupKey, int] = {}
    members: list[Strategy] = []
    index = np.empty(len(strategies), dtype=np.int64)
    for row, strategy in enumerate(strategies):
        key = group_key(strategy, levers)
        if key not in group_indices:
            group_indices[key] = len(members)
            members.append(strategy)
        index[row] = group_indices[key]
    return PhaseFactor(tuple(group_indices), tuple(members), index)


class CandidateBatch:
    """Posterior samples of the quantities of every candidate, and of the metrics composed of them.

    ``pending`` are the groups that running trials measure.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy],
        posterior: Posterior,
        pending: Mapping[Phase, set[GroupKey]],
    ) -> None:
        self.strategies = strategies
        self._posterior, self._pending = posterior, pending
        self._observations = observations = posterior.observations
        self.factors: dict[Phase, PhaseFactor] = {
            phase: factor_by_phase(strategies, phase) for phase in observations.phases
        }
        self._level_ids: dict[Phase, LevelIds] = {}
        self._samples: dict[tuple[Phase, str], Floats | None] = {}
        self._basis = np.array([observations.sample_basis(strategy) for strategy in strategies])

    def is_cached(self, phase: Phase) -> NDArray[np.bool_]:
        """Which candidates can reuse the results of ``phase``, shape (candidates,)."""
        cached, factor = self._observations.cached[phase], self.factors[phase]
        return np.array([key in cached for key in factor.groups], dtype=bool)[factor.index]

    @property
    def last_phase(self) -> Phase:
        """The last phase of a trial. Results of it include those of training."""
        return self._observations.phases[-1]

    def metric_samples(self, name: str) -> Floats | None:
        """Samples of a metric, shape (candidates, samples); ``None`` without an observation."""
        for phase in self._observations.phases:
            samples = self._quantity_samples(phase, name)
            if samples is not None:
                return samples * self._basis[:, None] if name == SAMPLES else samples
        seconds = self._train_seconds()
        if name == SECONDS and seconds is not None:
            return seconds
        rate = self._rate(name)
        if rate is not None and seconds is not None:
            return rate * seconds
        return self._quantity_samples(Phase.RUN, name)

    def true_samples(self, name: str) -> Floats | None:
        """Like :meth:`metric_samples`; measured scores have the error of their measurement, others
        the deviation of a strategy from the effects of its levers."""
        scores, phase = self._posterior.true_scores(name), score_phase(name)
        samples = self._sample(phase, name, with_residuals=True) if scores else None
        if samples is None:
            return self.metric_samples(name)
        factor = self.factors[phase]
        for row, group in enumerate(factor.groups):
            if group in scores:
                samples[factor.index == row] = scores[group]
        return samples

    def _rate(self, name: str) -> Floats | None:
        """Cost or energy per second of training."""
        if name == "cost_usd":
            factor = self.factors[Phase.PROFILE]
            prices = self._observations.usd_per_second(factor.members)
            return None if prices is None else np.array(prices)[factor.index, None]
        return self._quantity_samples(Phase.PROFILE, POWER) if name == "energy_wh" else None

    def _train_seconds(self) -> Floats | None:
        speed = self._quantity_samples(Phase.PROFILE, SPEED)
        samples = self._quantity_samples(Phase.TRAIN, SAMPLES)
        if speed is None or samples is None:
            return None
        setup = self._quantity_samples(Phase.PROFILE, SETUP)
        return self._basis[:, None] * samples / speed + (0.0 if setup is None else setup)

    def expected_seconds(self) -> Floats:
        """Expected duration of a trial of each candidate, shape (candidates,). In a trial that
        profiles and trains, the steps of the profile phase are the first ones of the training."""
        observations, seconds = self._observations, self.metric_samples(SECONDS)
        steps = np.full(len(self.strategies), 1.0)
        if seconds is not None:
            steps = np.exp(np.log(np.maximum(seconds, 1e-3)).mean(axis=1))
        both = np.maximum(steps + observations.run_overhead_seconds, observations.profile_seconds)
        profiles, trains = ~self.is_cached(Phase.PROFILE), ~self.is_cached(Phase.TRAIN)
        deploys = ~self.is_cached(self.last_phase)
        if self.last_phase is Phase.DEPLOY:
            trains = deploys & ~self._has_model()
        training = np.select(
            [profiles & trains, trains, profiles],
            [both, steps + observations.train_overhead_seconds, observations.profile_seconds],
        )
        if self.last_phase is Phase.TRAIN:
            return training
        is_alone = deploys & ~profiles & ~trains
        overhead = np.where(is_alone, observations.deploy_overhead_seconds, 0.0)
        return training + np.where(deploys, self._deploy_seconds() + overhead, 0.0)

    def _has_model(self) -> NDArray[np.bool_]:
        """For which candidates a trained model is kept, shape (candidates,)."""
        factor, models = self.factors[Phase.TRAIN], self._observations.models
        return np.array([key in models for key in factor.groups], dtype=bool)[factor.index]

    def _deploy_seconds(self) -> Floats:
        """Expected seconds of the deploy phase, shape (candidates,)."""
        samples = self._quantity_samples(Phase.DEPLOY, DEPLOY_SECONDS)
        if samples is None:
            return np.full(len(self.strategies), INITIAL_DEPLOY_SECONDS)
        return np.asarray(np.median(samples, axis=1))

    def _quantity_samples(self, phase: Phase, quantity: str) -> Floats | None:
        key = phase, quantity
        if key not in self._samples:
            self._samples[key] = self._sample(phase, quantity)
        return self._samples[key]

    def _sample(
        self, phase: Phase, quantity: str, *, with_residuals: bool = False
    ) -> Floats | None:
        if phase not in self.factors:
            self.factors[phase] = factor_by_phase(self.strategies, phase)
        surrogate = self._posterior.surrogate(phase, quantity)
        if surrogate is None:
            return None
        factor = self.factors[phase]
        if phase not in self._level_ids:
            self._level_ids[phase] = self._posterior.encoders[phase].encode(factor.members)
        prior_mean = self._posterior.prior_mean
        log_odds = prior_mean.log_odds(quantity, factor.groups, factor.members)
        normal = self._posterior.normal(phase, quantity)
        ids = self._level_ids[phase]
        samples = surrogate.sample(ids, normal, log_odds, with_residuals=with_residuals)
        samples *= prior_mean.values(quantity, factor.groups, factor.members)[:, None]
        self._condition(samples, phase, quantity)
        return np.asarray(samples[factor.index])

    def _condition(self, samples: Floats, phase: Phase, quantity: str) -> None:
        """Replace the samples of measured groups by the measured value, and those of pending groups
        by their median, so that two workers do not run the same."""
        observations = self._observations.groups[phase]
        pending = self._pending.get(phase, set())
        for row, key in enumerate(self.factors[phase].groups):
            observation = observations.get(key)
            if observation is not None and quantity in observation.values:
                samples[row] = observation.values[quantity]
            elif key in pending:
                samples[row] = np.median(samples[row])
