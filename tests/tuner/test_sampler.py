"""Every sampler satisfies the contract; TPE and NSGA-II learn from results."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest

from autotune.components import SAMPLERS
from autotune.domain import FailureReason, Infeasible, SamplerConfig, State, Study
from autotune.ports import Sampler
from autotune.tuner.samplers.registry import make_sampler
from tests.contracts.sampler_contract import MakeSampler, SamplerContract, search
from tests.tuner.small_study import finished_trial, measure


@pytest.fixture(params=SAMPLERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestSamplers(SamplerContract):
    @pytest.fixture
    def make(self, kind: str) -> MakeSampler:
        def make_fresh(study: Study) -> Sampler:
            return make_sampler(replace(study, sampler=replace(study.sampler, kind=kind)))

        return make_fresh


def _late_speed(study: Study, kind: str, seed: int) -> float:
    configured = replace(study, sampler=SamplerConfig(kind, seed))
    late = search(make_sampler(configured), configured, 40)[20:]
    return mean(measure(t.strategy)["train_samples_per_second"] for t in late)


def _feasible_share(study: Study, kind: str, seed: int) -> float:
    """Share of the later strategies that run, if all with a batch size above 8 fail."""
    configured = replace(study, sampler=SamplerConfig(kind, seed))
    sampler, history = make_sampler(configured), [finished_trial(0, configured.baseline)]
    while len(history) < 64:
        strategy = sampler.ask(history)
        assert strategy is not None
        trial = finished_trial(len(history), strategy)
        if strategy["batch_size"] != 8:
            assert trial.finished_at is not None
            trial = trial.finish(
                Infeasible(FailureReason.OUT_OF_MEMORY, "too large"), trial.finished_at
            )
        history.append(trial)
    return mean(t.state is State.COMPLETE for t in history[40:])


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_infeasible_strategies_are_proposed_less(study: Study, kind: str) -> None:
    learned = mean(_feasible_share(study, kind, seed) for seed in range(2))
    random = mean(_feasible_share(study, "random", seed) for seed in range(2))
    assert learned > random + 0.15


def test_tpe_learns_fast_settings(study: Study) -> None:
    tpe = mean(_late_speed(study, "tpe", seed) for seed in range(3))
    random = mean(_late_speed(study, "random", seed) for seed in range(3))
    assert tpe > 1.1 * random
