"""Every sampler keeps the contract, and those that learn do learn."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest

from autotune.domain import FailureReason, Infeasible, SamplerChoice, State, Study
from autotune.ports import Sampler
from autotune.search.samplers.optuna import SAMPLERS, make_sampler
from tests.contracts.sampler_contract import MakeSampler, SamplerContract, search
from tests.search.small_study import finished_trial, measure


@pytest.fixture(params=SAMPLERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestSamplers(SamplerContract):
    @pytest.fixture
    def make(self, kind: str) -> MakeSampler:
        def fresh(study: Study) -> Sampler:
            return make_sampler(replace(study, sampler=replace(study.sampler, kind=kind)))

        return fresh


def _late_speed(study: Study, kind: str, seed: int) -> float:
    chosen = replace(study, sampler=SamplerChoice(kind, seed))
    late = search(make_sampler(chosen), chosen, 40)[20:]
    return mean(measure(t.strategy)["train_samples_per_second"] for t in late)


def _share_that_runs(study: Study, kind: str, seed: int) -> float:
    """Of the later strategies those that do not fail, where all with 16 or 32 examples do."""
    chosen = replace(study, sampler=SamplerChoice(kind, seed))
    sampler, history = make_sampler(chosen), [finished_trial(0, chosen.baseline)]
    while len(history) < 64:
        strategy = sampler.ask(history)
        assert strategy is not None
        trial = finished_trial(len(history), strategy)
        if strategy["batch_size"] != 8:
            assert trial.finished_at is not None
            trial = trial.finished(
                Infeasible(FailureReason.OUT_OF_MEMORY, "too large"), trial.finished_at
            )
        history.append(trial)
    return mean(t.state is State.COMPLETE for t in history[40:])


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_what_cannot_run_is_proposed_less(study: Study, kind: str) -> None:
    learned = mean(_share_that_runs(study, kind, seed) for seed in range(2))
    chance = mean(_share_that_runs(study, "random", seed) for seed in range(2))
    assert learned > chance + 0.15


def test_tpe_learns_where_it_is_fast(study: Study) -> None:
    tpe = mean(_late_speed(study, "tpe", seed) for seed in range(3))
    chance = mean(_late_speed(study, "random", seed) for seed in range(3))
    assert tpe > 1.1 * chance
