"""The prior mean of speeds, and the expected duration of trials."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.domain import Phase, Study, Trial
from autotune.domain.search_space import grid
from autotune.levers import phase_levers
from autotune.tuner.samplers.factored import FactoredSampler
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.encoding import group_key
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.posterior import Posterior
from autotune.tuner.samplers.factored.surrogates import PriorMean, Surrogates
from tests.tuner import simulated_search as simulated
from tests.tuner.feasible_world import MINILM
from tests.tuner.simulated_search import finished_trial, simulate_metrics

SPEED = "train_samples_per_second"


def _relative_prior_mean(quantity: str, **settings: object) -> float:
    """The prior mean in units of that of the default."""
    default = simulated.study().baseline
    both = [default, default.with_values(**settings)]  # type: ignore[arg-type]
    groups = [group_key(strategy, phase_levers(Phase.PROFILE)) for strategy in both]
    first, second = PriorMean(MINILM).values(quantity, groups, both)
    return float(second / first)


def test_checkpointing_repeats_the_forward_pass_of_training_alone() -> None:
    assert _relative_prior_mean(SPEED, activation_checkpointing=True) == pytest.approx(3 / 4)
    assert _relative_prior_mean("inference_latency_ms", activation_checkpointing=True) == 1.0


def test_half_a_model_has_twice_the_prior_speed() -> None:
    assert _relative_prior_mean(SPEED, pruning_ratio=0.5) == pytest.approx(2.0, rel=0.02)
    assert _relative_prior_mean("inference_latency_ms", pruning_ratio=0.5) == pytest.approx(
        0.5, rel=0.02
    )
    assert _relative_prior_mean("peak_memory_gib", pruning_ratio=0.5) == 1.0, (
        "memory has a model of its own"
    )


def test_an_unknown_workload_has_a_constant_prior_mean() -> None:
    default = simulated.study().baseline
    assert PriorMean(None).values(SPEED, [()], [default]).tolist() == [1.0]


def test_first_proposal_saves_operations() -> None:
    """After the default only, without a measurement of the effect of any lever."""
    study = simulated.study()
    history = [finished_trial(0, study.baseline, simulate_metrics(study.baseline))]
    proposed = FactoredSampler(study, MINILM).ask(history)
    assert proposed is not None
    assert (proposed["pruning_ratio"], proposed["activation_checkpointing"]) == (0.5, False)


def test_measurements_override_the_prior_mean() -> None:
    """On a host where pruned models are slower and checkpointed ones faster."""
    study = simulated.study()
    history = [finished_trial(0, study.baseline, simulate_metrics(study.baseline))]
    for number, (ratio, checkpointing, factor) in enumerate(
        [(0.5, False, 0.4), (0.0, True, 2.0), (0.5, True, 0.8)], start=1
    ):
        strategy = study.baseline.with_values(
            pruning_ratio=ratio, activation_checkpointing=checkpointing
        )
        values = simulate_metrics(study.baseline)
        history.append(finished_trial(number, strategy, {**values, SPEED: factor * values[SPEED]}))
    strategies = [study.baseline.with_values(threads=2, pruning_ratio=r, activation_checkpointing=a)
             for r, a in [(0.5, False), (0.0, True)]]  # fmt: skip
    pruned, checkpointed = _batch(study, history, strategies).metric_samples(SPEED).mean(axis=1)  # type: ignore[union-attr]
    assert checkpointed > 2 * pruned


def test_a_trial_of_both_phases_takes_less_time_than_two_trials() -> None:
    """The steps of its profile phase are the first ones of its training."""
    study = simulated.study()
    default = study.baseline
    steps = simulate_metrics(default)["train_seconds"]
    train_sources = dict.fromkeys(("accuracy", "train_samples"), 0)
    profile_sources = {name: 0 for name in simulate_metrics(default) if name not in train_sources}
    faster, other = default.with_values(threads=2), default.with_values(learning_rate=1e-4)
    history = [
        finished_trial(0, default, simulate_metrics(default), seconds=steps + 1.5),
        finished_trial(1, faster, simulate_metrics(faster), sources=train_sources, seconds=2.0),
        finished_trial(
            2, other, simulate_metrics(other), sources=profile_sources, seconds=steps + 0.5
        ),
    ]
    strategies = [default.with_values(**settings) for settings in (
        {"learning_rate": 1e-3}, {"attention": "eager"},
        {"attention": "eager", "learning_rate": 1e-3}, {"threads": 2, "learning_rate": 1e-4},
    )]  # fmt: skip
    training, profiling, both, nothing = _batch(study, history, strategies).expected_seconds()
    assert (profiling, nothing) == (2.0, 0.0)
    assert training < both < training + profiling


def _batch(study: Study, history: list[Trial], strategies: list[object]) -> CandidateBatch:
    observations = Observations(study).update(history)
    surrogates = Surrogates(study.space, MINILM)
    pending: dict[object, set[object]] = {Phase.PROFILE: set(), Phase.TRAIN: set()}
    posterior = Posterior(observations, surrogates, 32, 0)
    return CandidateBatch(strategies, posterior, pending)  # type: ignore[arg-type]


def test_every_strategy_has_a_prior_mean() -> None:
    study = simulated.study((*simulated.SPEED_ONLY, *simulated.CONTINUOUS))
    strategies = list(grid(study.space, points=4))
    groups = [group_key(strategy, phase_levers(Phase.PROFILE)) for strategy in strategies]
    means = PriorMean(MINILM).values(SPEED, groups, strategies)
    assert np.isfinite(means).all() and (means > 0).all()
