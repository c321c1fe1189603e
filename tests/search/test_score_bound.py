"""What a strategy can be hoped to reach is learned from the groups that were trained."""

from __future__ import annotations

from autotune.domain import Study, Trial
from autotune.search.samplers.factored.score_bound import ENOUGH, GpScoreUpperBound
from tests.search.small_study import finished_trial


def trained(study: Study, count: int) -> list[Trial]:
    """Accuracy falls with pruning; nothing else matters much."""
    ratios = [0.0, 0.25, 0.5, 0.75]
    return [
        finished_trial(n, study.baseline.with_values(
            pruning_ratio=ratios[n % 4], batch_size=(8, 16, 32)[n % 3], learning_rate=2e-4))
        for n in range(count)
    ]  # fmt: skip


def test_few_trainings_bound_nothing(study: Study) -> None:
    history = trained(study, ENOUGH - 1)
    assert GpScoreUpperBound(study)(study.baseline, "accuracy", history, 2.5) is None


def test_a_ceiling_lies_above_what_comes_and_knows_the_levers(study: Study) -> None:
    history = trained(study, 12)
    pruned = study.baseline.with_values(pruning_ratio=0.75, precision="bf16", learning_rate=2e-4)
    whole = pruned.with_values(pruning_ratio=0.0)
    low = GpScoreUpperBound(study)(pruned, "accuracy", history, 2.5)
    high = GpScoreUpperBound(study)(whole, "accuracy", history, 2.5)
    assert low is not None and high is not None
    assert 0.825 < low < high <= 1.0


def test_it_is_a_function_of_the_history(study: Study) -> None:
    history = trained(study, 12)
    grown = GpScoreUpperBound(study)
    for size in range(4, 12):
        grown(study.baseline, "accuracy", history[:size], 2.5)
    fresh = GpScoreUpperBound(study)(study.baseline, "accuracy", history, 2.5)
    assert grown(study.baseline, "accuracy", history, 2.5) == fresh
