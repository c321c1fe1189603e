"""Propose the strategy with the best expected gain of hypervolume per second of its cost.

Speed and accuracy are modelled apart, each over the levers that influence it. What is measured
already costs nothing, so that joining two known halves is free, and training a new group is tried
where it is fast. See docs/search.md.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from threadpoolctl import ThreadpoolController

from autotune.analysis.front import baseline
from autotune.domain import Anatomy, Strategy, Study, Trial, digest
from autotune.search.samplers.factored.candidate_batch import Pool
from autotune.search.samplers.factored.candidates import Candidates
from autotune.search.samplers.factored.encoding import group
from autotune.search.samplers.factored.feasibility_classifier import Feasibility
from autotune.search.samplers.factored.observations import HALVES, Facts, Group, Half
from autotune.search.samplers.factored.scorer import View
from autotune.search.samplers.factored.surrogates import Surrogates

DRAWS = 32
"""Joint draws of what a candidate may measure."""

WITNESSES = 64
"""Stopped trials that are kept in mind."""


class FactoredSampler:
    """See the module. State is a cache: a fresh sampler proposes the same. With an ``anatomy`` of
    the task's model and data, speeds are expected to go by the work that they take."""

    def __init__(self, study: Study, anatomy: Anatomy | None = None) -> None:
        self._study = study
        self._facts = Facts(study)
        self._candidates = Candidates(study.space, study.sampler.seed)
        self._surrogates = Surrogates(study.space, anatomy)
        self._feasibility = Feasibility(study.space)

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` when the space is exhausted."""
        # Its matrices are small: more threads take longer, and cores from trials being measured.
        with _blas().limit(limits=1, user_api="blas"):
            return self._ask(history)

    def _ask(self, history: Sequence[Trial]) -> Strategy | None:
        facts = self._facts.learn(history)
        view = View(self._study, facts, baseline(self._study, _early(history)))
        strategies = self._candidates.unseen(facts.tried, view.parents())
        if not strategies:
            return None
        seed = int(digest([self._study.sampler.seed, len(history)])[:8], 16)
        stopped = [facts.stopped[number] for number in sorted(facts.stopped)[-WITNESSES:]]
        everything = [*strategies, *stopped]
        pool = Pool(everything, facts, self._surrogates, _pending(history), DRAWS, seed)
        scores = view.scores(pool, len(strategies), self._feasibility.chances(facts, pool))
        if scores is None:
            return random.Random(seed).choice(strategies)
        return strategies[int(scores.argmax())]


@cache
def _blas() -> ThreadpoolController:
    """Whatever multiplies matrices in this process, scipy's own library among it."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


def _early(history: Sequence[Trial]) -> Sequence[Trial]:
    """Where the default configuration is found."""
    return [trial for trial in history if trial.origin in ("baseline", "rerun", "start_with")]


def _pending(history: Sequence[Trial]) -> dict[Half, set[Group]]:
    running = [trial.strategy for trial in history if not trial.state.finished]
    return {half: {group(s, levers) for s in running} for half, levers in HALVES.items()}
