"""Candidate strategies: all of a small space; random, mutated and crossed ones of a large space.

A crossover combines the settings that influence only the speed with those that influence the
training, each of a good strategy. If both phases are cached, the combination costs nothing. Other
deployments of a model that is trained already cost seconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod

from autotune.domain import Dimension, Phase, Range, SearchSpace, Strategy, Value, expression
from autotune.domain.search_space import (
    MIN_VALUES,
    candidate_values,
    complete,
    contains,
    grid,
    grid_values,
    levers,
    position,
    settings,
)
from autotune.levers import is_deployment_lever, phase_levers

MAX_ENUMERATED = 2000
"""Size of the largest space that is enumerated."""

RANDOM_CANDIDATES = 500
NEARBY_CANDIDATES = 200
"""Mutations and crossovers of good strategies."""
MAX_VARIANTS = 64
"""Settings of the levers without influence on accuracy that are compared for a proposal."""
MAX_PARENTS = 12
STEP_STD = 0.08
"""Standard deviation of a mutation of a continuous lever, as a share of its range."""
CROSSOVER_PROBABILITY = 0.5
DEPLOYMENT_PROBABILITY = 0.5
"""Share of other deployments of good strategies among their variations, if deployment levers are
searched."""


class Candidates:
    """Untried strategies of a space, a pure function of the history."""

    def __init__(self, space: SearchSpace, seed: int, start_with: Sequence[Strategy] = ()) -> None:
        self._space, self._seed = space, seed
        self._values = {d.lever: candidate_values(space, d, start_with) for d in space.dimensions}
        self._rules = [(rule, tuple(rule.names)) for rule in _relevant_rules(space)]
        self._enumerated = self._enumerate()
        self._random: tuple[int, list[Strategy]] = (0, [])
        self._excluded: dict[tuple[int, tuple[Value | None, ...]], bool] = {}

    def untried(self, tried: set[str], parents: Sequence[Strategy]) -> list[Strategy]:
        """Candidates whose key is not in ``tried``. ``parents`` are the strategies to mutate and
        cross, the best first."""
        if self._enumerated is not None:
            return [strategy for strategy in self._enumerated if strategy.key not in tried]
        rng = random.Random(f"{self._seed}:{len(tried)}")
        nearby = self._nearby_strategies(parents[:MAX_PARENTS], rng) if parents else iter(())
        candidates = {s.key: s for s in self._random_strategies(len(tried))}
        candidates.update((s.key, s) for s in islice(nearby, NEARBY_CANDIDATES))
        untried = [strategy for key, strategy in candidates.items() if key not in tried]
        return untried or self._untried_of_grid(tried)

    def variants(self, strategy: Strategy, tried: set[str]) -> list[Strategy]:
        """Untried strategies that train the same model as ``strategy``, with it: those with other
        settings of the levers without influence on accuracy. Only ``strategy`` if all strategies
        are candidates anyway."""
        if self._enumerated is not None:
            return [strategy]
        free = [d for d in self._space.dimensions if d.lever not in phase_levers(Phase.TRAIN)]
        rng = random.Random(f"{self._seed}:{len(tried)}:variants")
        settings = (
            {**strategy.values, **dict(zip((d.lever for d in free), values, strict=True))}
            for values in _combinations([grid_values(d.domain, 4) for d in free], rng)
        )
        variants = {variant.key: variant for variant in self._allowed(settings)}
        return [strategy, *(v for key, v in variants.items() if key not in {*tried, strategy.key})]

    def _enumerate(self) -> list[Strategy] | None:
        if any(settings(dimension.domain) is None for dimension in self._space.dimensions):
            return None
        strategies = list(islice(grid(self._space), MAX_ENUMERATED + 1))
        return strategies if len(strategies) <= MAX_ENUMERATED else None

    def _untried_of_grid(self, tried: set[str]) -> list[Strategy]:
        """Untried strategies of a grid that is finer than all candidates so far."""
        points = MIN_VALUES + len(tried)
        untried = (s for s in grid(self._space, points) if s.key not in tried)
        return list(islice(untried, MAX_ENUMERATED))

    def _random_strategies(self, tried_count: int) -> list[Strategy]:
        """Random strategies, new ones whenever the history has doubled."""
        epoch = max(tried_count, 1).bit_length()
        if self._random[0] != epoch:
            rng = random.Random(f"{self._seed}/{epoch}")
            samples = (self._random_settings(rng) for _ in range(4 * RANDOM_CANDIDATES))
            self._random = epoch, list(islice(self._allowed(samples), RANDOM_CANDIDATES))
        return self._random[1]

    def _random_settings(self, rng: random.Random) -> dict[str, Value]:
        return {d.lever: self._draw(d, rng) for d in self._space.dimensions}

    def _draw(self, dimension: Dimension, rng: random.Random) -> Value:
        """A random setting."""
        values = self._values[dimension.lever]
        return values[int(rng.random() * len(values))]

    def _allowed(self, samples: Iterable[Mapping[str, Value]]) -> Iterator[Strategy]:
        """The strategies of ``samples`` that no rule excludes."""
        for values in samples:
            strategy = complete(self._space, values)
            if not any(self._is_excluded(index, strategy) for index in range(len(self._rules))):
                yield strategy

    def _is_excluded(self, index: int, strategy: Strategy) -> bool:
        """Whether a rule excludes ``strategy``; cached by the few levers that the rule names."""
        rule, names = self._rules[index]
        key = index, tuple(map(strategy.values.get, names))
        if key not in self._excluded:
            self._excluded[key] = rule.holds(strategy.values)
        return self._excluded[key]

    def _nearby_strategies(
        self, parents: Sequence[Strategy], rng: random.Random
    ) -> Iterator[Strategy]:
        return self._allowed(self._variations(parents, rng))

    def _variations(
        self, strategies: Sequence[Strategy], rng: random.Random
    ) -> Iterator[dict[str, Value]]:
        parents = [self._searched_settings(strategy, rng) for strategy in strategies]
        deployment = [d for d in self._space.dimensions if is_deployment_lever(d.lever)]
        for _ in range(4 * NEARBY_CANDIDATES):
            parent = rng.choice(parents)
            if deployment and rng.random() < DEPLOYMENT_PROBABILITY:
                yield {**parent, **{d.lever: self._draw(d, rng) for d in deployment}}
            elif rng.random() < CROSSOVER_PROBABILITY:
                yield self._crossover(parent, rng.choice(parents), rng)
            else:
                yield self._mutate(dict(parent), rng)

    def _searched_settings(self, strategy: Strategy, rng: random.Random) -> dict[str, Value]:
        """The settings of the searched levers; random ones for values outside of the space."""
        return {
            d.lever: strategy[d.lever]
            if contains(d.domain, strategy[d.lever])
            else self._draw(d, rng)
            for d in self._space.dimensions
        }

    def _crossover(
        self, first: Mapping[str, Value], second: Mapping[str, Value], rng: random.Random
    ) -> dict[str, Value]:
        """The training levers of the first with the other levers of the second, or the same with
        the speed levers. In half of the cases one of the other levers is mutated as well."""
        phase = Phase.TRAIN if rng.random() < 0.5 else Phase.PROFILE
        kept = phase_levers(phase)
        child = {lever: first[lever] if lever in kept else second[lever] for lever in first}
        free = [d for d in self._space.dimensions if d.lever not in kept]
        if free and rng.random() < 0.5:
            dimension = rng.choice(free)
            child[dimension.lever] = self._step(dimension, child[dimension.lever], rng)
        return child

    def _mutate(self, values: dict[str, Value], rng: random.Random) -> dict[str, Value]:
        """Changes one lever, or two with probability 0.4."""
        count = 1 if rng.random() < 0.6 else 2
        count = min(count, len(self._space.dimensions))
        for dimension in rng.sample(self._space.dimensions, count):
            values[dimension.lever] = self._step(dimension, values[dimension.lever], rng)
        return values

    def _step(self, dimension: Dimension, value: Value, rng: random.Random) -> Value:
        """Another setting: a near one of a continuous range, any of a finite domain."""
        domain = dimension.domain
        if settings(domain) is None and isinstance(domain, Range) and not isinstance(value, str):
            values = self._values[dimension.lever]
            last = len(values) - 1
            steps = round(rng.gauss(0, STEP_STD) * last) or rng.choice((-1, 1))
            index = round(position(domain, float(value)) * last) + steps
            return values[min(max(index, 0), last)]
        others = [v for v in grid_values(domain, 16) if v != value]
        return rng.choice(others) if others else value


def _combinations(
    settings: Sequence[Sequence[Value]], rng: random.Random
) -> Iterator[tuple[Value, ...]]:
    """All combinations of the settings of several levers, or :data:`MAX_VARIANTS` random ones."""
    if prod(map(len, settings)) <= MAX_VARIANTS:
        yield from product(*settings)
    else:
        yield from (tuple(map(rng.choice, settings)) for _ in range(MAX_VARIANTS))


def _relevant_rules(space: SearchSpace) -> list[expression.Expression]:
    """Rules over at least one searched lever, and rules that exclude every strategy."""
    searched = set(levers(space))
    parsed = [expression.parse(rule.excludes, space.defaults.keys()) for rule in space.rules]
    return [rule for rule in parsed if rule.names & searched or rule.holds(space.defaults)]
