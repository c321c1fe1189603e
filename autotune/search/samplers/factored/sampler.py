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

from autotune.analysis.front import find_baseline
from autotune.domain import Phase, Strategy, Study, Trial, TrialOrigin, WorkloadProfile, digest
from autotune.levers import phase_levers
from autotune.search.samplers.factored.candidate_batch import CandidateBatch
from autotune.search.samplers.factored.candidates import Candidates
from autotune.search.samplers.factored.encoding import group
from autotune.search.samplers.factored.feasibility_classifier import FeasibilityClassifier
from autotune.search.samplers.factored.observations import (
    Group,
    Observations,
)
from autotune.search.samplers.factored.scorer import AcquisitionScorer
from autotune.search.samplers.factored.surrogates import Surrogates

DRAWS = 32
"""Joint draws of what a candidate may measure."""

MAX_STOPPED_TRIALS = 64
"""Stopped trials that are kept in mind."""


DEFAULT_ORIGINS = (TrialOrigin.DEFAULT, TrialOrigin.ENQUEUED, TrialOrigin.RETRY)
"""Origins that the trial of the default strategy can have."""


class FactoredSampler:
    """See the module. State is a cache: a fresh sampler proposes the same. With an ``anatomy`` of
    the task's model and data, speeds are expected to go by the work that they take."""

    def __init__(self, study: Study, anatomy: WorkloadProfile | None = None) -> None:
        self._study = study
        self._facts = Observations(study)
        self._candidates = Candidates(study.space, study.sampler.seed)
        self._surrogates = Surrogates(study.space, anatomy)
        self._feasibility = FeasibilityClassifier(study.space)

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` when the space is exhausted."""
        # Its matrices are small: more threads take longer, and cores from trials being measured.
        with _blas().limit(limits=1, user_api="blas"):
            return self._ask(history)

    def _ask(self, history: Sequence[Trial]) -> Strategy | None:
        facts = self._facts.learn(history)
        view = AcquisitionScorer(self._study, facts, find_baseline(self._study, _early(history)))
        strategies = self._candidates.unseen(facts.tried, view.parents())
        if not strategies:
            return None
        seed = int(digest([self._study.sampler.seed, len(history)])[:8], 16)
        stopped = [facts.stopped[number] for number in sorted(facts.stopped)[-MAX_STOPPED_TRIALS:]]
        everything = [*strategies, *stopped]
        pool = CandidateBatch(everything, facts, self._surrogates, _pending(history), DRAWS, seed)
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
    return [trial for trial in history if trial.origin in DEFAULT_ORIGINS]


def _pending(history: Sequence[Trial]) -> dict[Phase, set[Group]]:
    running = [trial.strategy for trial in history if not trial.state.finished]
    return {half: {group(s, phase_levers(half)) for s in running} for half in Phase}
