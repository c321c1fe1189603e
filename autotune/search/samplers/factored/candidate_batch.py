"""Candidates by the groups that they share measurements with, and what each would measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.domain import PHASES, Phase, Strategy, digest
from autotune.levers import phase_levers
from autotune.search.samplers.factored.encoding import Ids, group
from autotune.search.samplers.factored.gaussian_process import Floats
from autotune.search.samplers.factored.observations import (
    POWER,
    SAMPLES,
    SECONDS,
    SETUP,
    SPEED,
    Group,
    Observations,
)
from autotune.search.samplers.factored.surrogates import Surrogates


@dataclass(frozen=True)
class PhaseFactor:
    """The groups of one half among the candidates: ``index`` is each candidate's place in them."""

    groups: tuple[Group, ...]
    members: tuple[Strategy, ...]
    index: NDArray[np.int64]


def phase_factor(strategies: Sequence[Strategy], half: Phase) -> PhaseFactor:
    """``strategies`` by what they agree on."""
    places: dict[Group, int] = {}
    members: list[Strategy] = []
    index = np.empty(len(strategies), dtype=np.int64)
    for row, strategy in enumerate(strategies):
        place = group(strategy, phase_levers(half))
        if place not in places:
            places[place] = len(members)
            members.append(strategy)
        index[row] = places[place]
    return PhaseFactor(tuple(places), tuple(members), index)


class CandidateBatch:
    """Draws of every leaf for every candidate, and of the metrics that are made of them."""

    def __init__(
        self,
        strategies: Sequence[Strategy],
        facts: Observations,
        surrogates: Surrogates,
        pending: Mapping[Phase, set[Group]],
        draws: int,
        seed: int,
    ) -> None:
        self.strategies, self._facts, self._surrogates = strategies, facts, surrogates
        self._pending, self._draws, self._seed = pending, draws, seed
        self.factors: dict[Phase, PhaseFactor] = {
            half: phase_factor(strategies, half) for half in PHASES
        }
        self._ids: dict[Phase, Ids] = {}
        self._found: dict[tuple[Phase, str], Floats | None] = {}
        self.basis = np.array([facts.basis(strategy) for strategy in strategies])

    def known(self, half: Phase) -> NDArray[np.bool_]:
        """Which candidates find this half measured already."""
        known, part = self._facts.known[half], self.factors[half]
        return np.array([place in known for place in part.groups], dtype=bool)[part.index]

    def metric(self, name: str) -> Floats | None:
        """Draws of a metric, shape (candidates, draws); ``None`` where nothing is known of it."""
        for half in PHASES:
            leaf = self._leaf(half, name)
            if leaf is not None:
                return leaf * self.basis[:, None] if name == SAMPLES else leaf
        seconds = self._seconds()
        if name == SECONDS and seconds is not None:
            return seconds
        rate = self._rate(name)
        if rate is not None and seconds is not None:
            return rate * seconds
        return self._leaf(Phase.RUN, name)

    def _rate(self, name: str) -> Floats | None:
        """What is paid or used a second of training."""
        if name == "cost_usd":
            part = self.factors[Phase.PROFILE]
            prices = self._facts.usd_per_second(part.members)
            return None if prices is None else np.array(prices)[part.index, None]
        return self._leaf(Phase.PROFILE, POWER) if name == "energy_wh" else None

    def _seconds(self) -> Floats | None:
        speed, samples = self._leaf(Phase.PROFILE, SPEED), self._leaf(Phase.TRAIN, SAMPLES)
        if speed is None or samples is None:
            return None
        setup = self._leaf(Phase.PROFILE, SETUP)
        return self.basis[:, None] * samples / speed + (0.0 if setup is None else setup)

    def cost(self) -> Floats:
        """Expected seconds that each candidate would take, shape (candidates,). Where both halves
        are measured, the steps of the probe are the first ones of the training."""
        facts, seconds = self._facts, self.metric(SECONDS)
        steps = np.full(len(self.strategies), 1.0)
        if seconds is not None:
            steps = np.exp(np.log(np.maximum(seconds, 1e-3)).mean(axis=1))
        whole = np.maximum(steps + facts.beside_whole_seconds, facts.probe_seconds)
        probing, training = ~self.known(Phase.PROFILE), ~self.known(Phase.TRAIN)
        return np.select(
            [probing & training, training, probing],
            [whole, steps + facts.beside_training_seconds, facts.probe_seconds],
        )

    def _leaf(self, half: Phase, leaf: str) -> Floats | None:
        key = half, leaf
        if key not in self._found:
            self._found[key] = self._drawn(half, leaf)
        return self._found[key]

    def _drawn(self, half: Phase, leaf: str) -> Floats | None:
        if half == Phase.RUN and Phase.RUN not in self.factors:
            self.factors[Phase.RUN] = phase_factor(self.strategies, Phase.RUN)
        surrogate = self._surrogates.of(half, leaf, self._facts.ordered(half))
        if surrogate is None:
            return None
        part_ = self.factors[half]
        if half not in self._ids:
            self._ids[half] = self._surrogates.encoders[half].encode(part_.members)
        drawn = surrogate.draws(self._ids[half], self._normal(half, leaf))
        expectations = self._surrogates.expectations
        drawn *= expectations.of(leaf, part_.groups, part_.members)[:, None]
        self._clamp(drawn, half, leaf)
        return np.asarray(drawn[part_.index])

    def _clamp(self, drawn: Floats, half: Phase, leaf: str) -> None:
        """What was measured is no guess, and what is being measured is taken at its middle."""
        measured, pending = self._facts.groups[half], self._pending.get(half, set())
        for row, place in enumerate(self.factors[half].groups):
            fact = measured.get(place)
            if fact is not None and leaf in fact.values:
                drawn[row] = fact.values[leaf]
            elif place in pending:
                drawn[row] = np.median(drawn[row])

    def _normal(self, half: Phase, leaf: str) -> Floats:
        """Evenly spaced quantiles of the standard normal distribution, shuffled for each leaf."""
        from scipy.special import ndtri

        seed = int(digest([self._seed, half, leaf])[:8], 16)
        order = np.random.default_rng(seed).permutation(self._draws)
        return np.asarray(ndtri((order + 0.5) / self._draws))
