"""Bayesian optimization with a Gaussian process per quantity and expected hypervolume improvement.

It proposes the strategy with the greatest expected improvement per second of its trial. Unlike
other samplers of this kind (qNEHVI, ParEGO), it models the profile and the train phase separately,
each over the levers that influence it. Results of a phase are cached, so combining two cached
phases is free, and a new training group is tried with fast settings. See docs/search.md.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from threadpoolctl import ThreadpoolController

from autotune.domain import Phase, Strategy, Study, Trial, WorkloadProfile
from autotune.levers import phase_levers
from autotune.tuner.samplers.common import derive_seed
from autotune.tuner.samplers.factored.acquisition import AcquisitionScorer
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.candidates import Candidates
from autotune.tuner.samplers.factored.encoding import GroupKey, group_key
from autotune.tuner.samplers.factored.feasibility_classifier import FeasibilityClassifier
from autotune.tuner.samplers.factored.observations import Observations, observe
from autotune.tuner.samplers.factored.posterior import Posterior
from autotune.tuner.samplers.factored.surrogates import make_surrogates

POSTERIOR_SAMPLES = 32
"""Joint posterior samples of the metrics of the candidates."""

MAX_STOPPED_TRIALS = 64
"""Latest early-stopped trials that a proposal takes into account."""


class FactoredSampler:
    """A pure function of the history: a fresh sampler proposes the same strategy.

    With a ``workload``, the prior mean of speeds follows from the floating-point operations.
    """

    def __init__(self, study: Study, workload: WorkloadProfile | None = None) -> None:
        self._study = study
        self._observations: Observations | None = None
        self._candidates = Candidates(study.space, study.sampler.seed, study.start_with)
        self._surrogates = make_surrogates(study, workload)
        self._feasibility = FeasibilityClassifier(study.space)

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` if the space is exhausted."""
        # Small matrices: more threads would be slower and disturb the trials being measured.
        with _blas().limit(limits=1, user_api="blas"):
            return self._ask(history)

    def _ask(self, history: Sequence[Trial]) -> Strategy | None:
        self._observations = observations = observe(self._study, history, self._observations)
        seed = derive_seed(self._study.sampler.seed, len(history))
        posterior = Posterior(observations, self._surrogates, POSTERIOR_SAMPLES, seed)
        scorer = AcquisitionScorer(self._study, posterior, observations.default)
        candidates = self._candidates.untried(observations.tried_keys, scorer.parents())
        if not candidates:
            return None
        chosen = self._choose(candidates, posterior, scorer, history, seed)
        variants = self._candidates.variants(chosen, observations.tried_keys)
        if len(variants) < 2:
            return chosen
        return self._choose(variants, posterior, scorer, history, seed)

    def _choose(
        self,
        candidates: Sequence[Strategy],
        posterior: Posterior,
        scorer: AcquisitionScorer,
        history: Sequence[Trial],
        seed: int,
    ) -> Strategy:
        """The candidate with the highest score; a random one if there is no score above 0."""
        observations = posterior.observations
        numbers = sorted(observations.early_stopped)[-MAX_STOPPED_TRIALS:]
        stopped = [observations.early_stopped[number] for number in numbers]
        batch = CandidateBatch([*candidates, *stopped], posterior, _pending_groups(history))
        feasibility = self._feasibility.probabilities(observations, batch)
        scores = scorer.scores(batch, len(candidates), feasibility)
        if scores is None or not scores.any():
            return random.Random(seed).choice(candidates)
        return candidates[int(scores.argmax())]


@cache
def _blas() -> ThreadpoolController:
    """All BLAS libraries of this process, including the one that SciPy loads."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


def _pending_groups(history: Sequence[Trial]) -> dict[Phase, set[GroupKey]]:
    """The groups that running trials measure."""
    running = [trial.strategy for trial in history if not trial.state.is_finished]
    return {
        phase: {group_key(strategy, phase_levers(phase)) for strategy in running} for phase in Phase
    }
