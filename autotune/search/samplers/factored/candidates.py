"""What may be proposed next: all of a small space, or draws, neighbours and crosses of a large one.

A cross joins settings that only speed depends on with settings that only training depends on, each
from a strategy that did well: what both halves know already costs nothing to join.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from autotune.domain import Dimension, Phase, Range, SearchSpace, Strategy, Value, expression
from autotune.domain.search_space import (
    complete,
    contains,
    grid,
    grid_values,
    levers,
    quantile,
    settings,
)
from autotune.levers import phase_levers

MAX_ENUMERATED = 2000
"""A finite space of at most so many strategies is looked at whole."""

DRAWS = 500
NEARBY = 200
PARENTS = 12
STEP = 0.08
"""Log-uniform or linear share of a continuous lever by which a neighbour differs (one sigma)."""


class Candidates:
    """Strategies of a space that were not tried. Pure: a history gives the same candidates."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space, self._seed = space, seed
        self._rules = [(rule, tuple(rule.names)) for rule in _rules_that_matter(space)]
        self._whole = self._everything()
        self._drawn: tuple[int, list[Strategy]] = (0, [])
        self._verdicts: dict[tuple[int, tuple[Value | None, ...]], bool] = {}

    def unseen(self, tried: set[str], best: Sequence[Strategy]) -> list[Strategy]:
        """Candidates whose key is not in ``tried``; ``best`` are the parents of the nearby ones,
        the most promising first."""
        if self._whole is not None:
            return [strategy for strategy in self._whole if strategy.key not in tried]
        chance = random.Random(f"{self._seed}:{len(tried)}")
        nearby = self._nearby(best[:PARENTS], chance) if best else iter(())
        found = {s.key: s for s in self._draws(len(tried))}
        found.update((s.key, s) for s in islice(nearby, NEARBY))
        fresh = [s for key, s in found.items() if key not in tried]
        return fresh or self._rest(tried)

    def _everything(self) -> list[Strategy] | None:
        if any(settings(dimension.domain) is None for dimension in self._space.dimensions):
            return None
        found = list(islice(grid(self._space), MAX_ENUMERATED + 1))
        return found if len(found) <= MAX_ENUMERATED else None

    def _rest(self, tried: set[str]) -> list[Strategy]:
        unseen = (s for s in grid(self._space, points=16) if s.key not in tried)
        return list(islice(unseen, MAX_ENUMERATED))

    def _draws(self, tried: int) -> list[Strategy]:
        """Strategies drawn at random, others whenever the history has doubled."""
        epoch = max(tried, 1).bit_length()
        if self._drawn[0] != epoch:
            chance = random.Random(f"{self._seed}/{epoch}")
            drawn = (self._draw(chance) for _ in range(4 * DRAWS))
            self._drawn = epoch, list(islice(self._legal(drawn), DRAWS))
        return self._drawn[1]

    def _draw(self, chance: random.Random) -> dict[str, Value]:
        return {d.lever: quantile(d.domain, chance.random()) for d in self._space.dimensions}

    def _legal(self, choices: Iterable[Mapping[str, Value]]) -> Iterator[Strategy]:
        for chosen in choices:
            strategy = complete(self._space, chosen)
            if not any(self._excludes(place, strategy) for place in range(len(self._rules))):
                yield strategy

    def _excludes(self, place: int, strategy: Strategy) -> bool:
        """What a rule says of the few levers that it names, which it is asked over and over."""
        rule, names = self._rules[place]
        key = place, tuple(map(strategy.values.get, names))
        if key not in self._verdicts:
            self._verdicts[key] = rule.holds(strategy.values)
        return self._verdicts[key]

    def _nearby(self, best: Sequence[Strategy], chance: random.Random) -> Iterator[Strategy]:
        return self._legal(self._variations(best, chance))

    def _variations(
        self, best: Sequence[Strategy], chance: random.Random
    ) -> Iterator[dict[str, Value]]:
        parents = [self._choices(strategy, chance) for strategy in best]
        for _ in range(4 * NEARBY):
            parent = chance.choice(parents)
            if chance.random() < 0.5:
                yield self._crossover(parent, chance.choice(parents), chance)
            else:
                yield self._mutate(dict(parent), chance)

    def _choices(self, strategy: Strategy, chance: random.Random) -> dict[str, Value]:
        """What a strategy sets of the searched levers; anew where the space does not offer it."""
        return {
            d.lever: strategy[d.lever]
            if contains(d.domain, strategy[d.lever])
            else quantile(d.domain, chance.random())
            for d in self._space.dimensions
        }

    def _crossover(
        self, one: Mapping[str, Value], other: Mapping[str, Value], chance: random.Random
    ) -> dict[str, Value]:
        """The training of one with the pure speed levers of the other, or the reverse, one of
        those perhaps moved as well."""
        speed = chance.random() < 0.5
        keep = phase_levers(Phase.TRAIN if speed else Phase.PROFILE)
        mixed = {lever: one[lever] if lever in keep else other[lever] for lever in one}
        free = [d for d in self._space.dimensions if d.lever not in keep]
        if free and chance.random() < 0.5:
            dimension = chance.choice(free)
            mixed[dimension.lever] = self._step(dimension, mixed[dimension.lever], chance)
        return mixed

    def _mutate(self, parent: dict[str, Value], chance: random.Random) -> dict[str, Value]:
        count = 1 if chance.random() < 0.6 else 2
        moving = chance.sample(self._space.dimensions, min(count, len(self._space.dimensions)))
        for dimension in moving:
            parent[dimension.lever] = self._step(dimension, parent[dimension.lever], chance)
        return parent

    def _step(self, dimension: Dimension, value: Value, chance: random.Random) -> Value:
        """Another setting of one lever: near in a continuous range, any of a finite one."""
        domain = dimension.domain
        if settings(domain) is None and isinstance(domain, Range) and not isinstance(value, str):
            share = min(max(_share(domain, float(value)) + chance.gauss(0, STEP), 0.0), 1.0)
            return quantile(domain, share)
        others = [v for v in grid_values(domain, 16) if v != value]
        return chance.choice(others) if others else value


def _rules_that_matter(space: SearchSpace) -> list[expression.Expression]:
    """Rules that a searched lever can break; the others hold or not whatever is proposed."""
    moved = set(levers(space))
    parsed = [expression.parse(rule.excludes, space.defaults.keys()) for rule in space.rules]
    return [rule for rule in parsed if rule.names & moved or rule.holds(space.defaults)]


def _share(domain: Range, value: float) -> float:
    if domain.log:
        return math.log(max(value, 1e-300) / domain.low) / math.log(domain.high / domain.low)
    return (value - domain.low) / ((domain.high - domain.low) or 1.0)
