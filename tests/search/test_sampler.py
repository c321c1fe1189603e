"""Every sampler keeps the contract, and those that learn do learn."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest

from autotune.domain import SamplerChoice, Study
from autotune.ports import Sampler
from autotune.search.sampler import SAMPLERS, make_sampler
from tests.contracts.sampler_contract import MakeSampler, SamplerContract, search
from tests.search.conftest import measure


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


def test_tpe_learns_where_it_is_fast(study: Study) -> None:
    tpe = mean(_late_speed(study, "tpe", seed) for seed in range(3))
    chance = mean(_late_speed(study, "random", seed) for seed in range(3))
    assert tpe > 1.1 * chance
