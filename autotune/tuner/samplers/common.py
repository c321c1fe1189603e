"""What the samplers share: seeds, the strategies of a history, and the rest of a small space."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import islice

from autotune.domain import SearchSpace, Strategy, Trial, TrialOrigin, digest
from autotune.domain.search_space import grid


def derive_seed(*parts: int) -> int:
    """A 32-bit seed that depends on all ``parts``."""
    return int(digest(list(parts))[:8], 16)


class TriedStrategies:
    """Keys of the strategies tried on this host, by default those of the whole strategy.

    A history only grows, so each call reads the new trials only. A shorter history than before is
    another history.
    """

    def __init__(self, key: Callable[[Strategy], str] = lambda strategy: strategy.key) -> None:
        self._key = key
        self._keys: set[str] = set()
        self._count = 0

    def keys(self, history: Sequence[Trial]) -> set[str]:
        if len(history) < self._count:
            self._keys, self._count = set(), 0
        self._keys.update(
            self._key(trial.strategy)
            for trial in history[self._count :]
            if trial.origin != TrialOrigin.TRANSFERRED
        )
        self._count = len(history)
        return self._keys


def choose_untried(space: SearchSpace, tried: set[str], seed: int) -> Strategy | None:
    """A random untried strategy of the grid of a nearly exhausted space; ``None`` if there is
    none."""
    untried = (strategy for strategy in grid(space, points=16) if strategy.key not in tried)
    candidates = list(islice(untried, 256))
    return random.Random(derive_seed(seed, len(tried))).choice(candidates) if candidates else None
