"""The upper bound of a score, learned from the trained groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autotune.domain import Phase, Study, Trial, TrialOrigin
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.observations import observe
from autotune.tuner.samplers.factored.posterior import Posterior
from autotune.tuner.samplers.factored.score_bound import MIN_GROUPS, GpScoreUpperBound
from autotune.tuner.samplers.factored.surrogates import make_surrogates
from tests.tuner.feasible_world import MINILM
from tests.tuner.small_study import finished_trial


def trained_history(study: Study, count: int) -> list[Trial]:
    """Accuracy depends mostly on the pruning ratio."""
    ratios = [0.0, 0.25, 0.5, 0.75]
    return [
        finished_trial(n, study.baseline.with_values(
            pruning_ratio=ratios[n % 4], batch_size=(8, 16, 32)[n % 3], learning_rate=2e-4))
        for n in range(count)
    ]  # fmt: skip


def test_no_bound_with_few_trained_groups(study: Study) -> None:
    history = trained_history(study, MIN_GROUPS - 1)
    assert GpScoreUpperBound(study)(study.baseline, "accuracy", history, 2.5) is None


def test_the_bound_is_above_the_score_and_depends_on_the_levers(study: Study) -> None:
    history = trained_history(study, 12)
    pruned = study.baseline.with_values(pruning_ratio=0.75, precision="bf16", learning_rate=2e-4)
    unpruned = pruned.with_values(pruning_ratio=0.0)
    low = GpScoreUpperBound(study)(pruned, "accuracy", history, 2.5)
    high = GpScoreUpperBound(study)(unpruned, "accuracy", history, 2.5)
    assert low is not None and high is not None
    assert 0.825 < low < high <= 1.0


def test_the_bound_is_a_function_of_the_history(study: Study) -> None:
    history = trained_history(study, 12)
    incremental = GpScoreUpperBound(study)
    for size in range(4, 12):
        incremental(study.baseline, "accuracy", history[:size], 2.5)
    fresh = GpScoreUpperBound(study)(study.baseline, "accuracy", history, 2.5)
    assert incremental(study.baseline, "accuracy", history, 2.5) == fresh


def test_the_bound_is_what_the_sampler_predicts(study: Study) -> None:
    """With what it expects of levers and of speeds, at the speed of the machine in the default."""
    study = replace(study, workload=MINILM)
    bound = GpScoreUpperBound(study, MINILM)
    history = [replace(t, origin=TrialOrigin.DEFAULT) if t.number == 0 else t
               for t in trained_history(study, 12)]  # fmt: skip
    strategy = study.baseline.with_values(pruning_ratio=0.5, batch_size=16, learning_rate=1e-3)
    posterior = Posterior(observe(study, history), make_surrogates(study, MINILM), 64, 0)
    batch = CandidateBatch([strategy], posterior, {phase: set() for phase in Phase})
    for metric in ("accuracy", "train_samples_per_second"):
        samples = batch.metric_samples(metric)
        assert samples is not None
        assert bound(strategy, metric, history, 0.0) == pytest.approx(np.median(samples), rel=0.01)
