"""Grid search."""

from __future__ import annotations

import random
from collections.abc import Sequence

from autotune.domain import Strategy, Study, Trial
from autotune.domain.search_space import grid
from autotune.tuner.samplers.common import TriedStrategies, derive_seed


class GridSampler:
    """Proposes every strategy of the space once, in an order shuffled by the seed."""

    def __init__(self, study: Study) -> None:
        self._strategies = list(grid(study.space))
        random.Random(derive_seed(study.sampler.seed)).shuffle(self._strategies)
        self._tried = TriedStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        tried = self._tried.keys(history)
        return next((s for s in self._strategies if s.key not in tried), None)
