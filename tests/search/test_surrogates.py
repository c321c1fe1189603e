"""What is expected of speeds before they are measured, and what a trial is expected to cost."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.domain import Phase, Study, Trial
from autotune.domain.search_space import grid
from autotune.levers import phase_levers
from autotune.search.samplers.factored import FactoredSampler
from autotune.search.samplers.factored.candidate_batch import CandidateBatch
from autotune.search.samplers.factored.encoding import group
from autotune.search.samplers.factored.observations import Observations
from autotune.search.samplers.factored.prior_mean import FlopsPriorMean
from autotune.search.samplers.factored.surrogates import Surrogates
from tests.search import factored_worlds as worlds
from tests.search.factored_worlds import finished, measured
from tests.search.feasible_world import MINILM

SPEED = "train_samples_per_second"


def _expected(leaf: str, **settings: object) -> float:
    """In units of the default's."""
    default = worlds.study().baseline
    both = [default, default.with_values(**settings)]  # type: ignore[arg-type]
    groups = [group(strategy, phase_levers(Phase.PROFILE)) for strategy in both]
    one, other = FlopsPriorMean(MINILM).of(leaf, groups, both)
    return float(other / one)


def test_checkpointing_repeats_the_forward_pass_of_training_alone() -> None:
    assert _expected(SPEED, activation_checkpointing=True) == pytest.approx(3 / 4)
    assert _expected("inference_latency_ms", activation_checkpointing=True) == 1.0


def test_half_a_model_is_expected_to_be_twice_as_fast() -> None:
    assert _expected(SPEED, pruning_ratio=0.5) == pytest.approx(2.0, rel=0.02)
    assert _expected("inference_latency_ms", pruning_ratio=0.5) == pytest.approx(0.5, rel=0.02)
    assert _expected("peak_memory_gib", pruning_ratio=0.5) == 1.0, "known by another model"


def test_nothing_is_expected_of_an_unknown_model() -> None:
    default = worlds.study().baseline
    assert FlopsPriorMean(None).of(SPEED, [()], [default]).tolist() == [1.0]


def test_begins_with_what_spares_work() -> None:
    """After the default alone, and of levers whose effect nobody knows yet."""
    study = worlds.study()
    history = [finished(0, study.baseline, measured(study.baseline))]
    proposed = FactoredSampler(study, MINILM).ask(history)
    assert proposed is not None
    assert (proposed["pruning_ratio"], proposed["activation_checkpointing"]) == (0.5, False)


def test_measurements_count_for_more_than_what_was_expected() -> None:
    """On a machine where pruned models are slower and checkpointed ones faster."""
    study = worlds.study()
    history = [finished(0, study.baseline, measured(study.baseline))]
    for number, (ratio, again, times) in enumerate(
        [(0.5, False, 0.4), (0.0, True, 2.0), (0.5, True, 0.8)], start=1
    ):
        strategy = study.baseline.with_values(pruning_ratio=ratio, activation_checkpointing=again)
        numbers = measured(study.baseline)
        history.append(finished(number, strategy, {**numbers, SPEED: times * numbers[SPEED]}))
    asked = [study.baseline.with_values(threads=2, pruning_ratio=r, activation_checkpointing=a)
             for r, a in [(0.5, False), (0.0, True)]]  # fmt: skip
    pruned, again = _pool(study, history, asked).metric(SPEED).mean(axis=1)  # type: ignore[union-attr]
    assert again > 2 * pruned


def test_a_trial_that_measures_both_halves_costs_less_than_two_trials() -> None:
    """The steps of its probe are the first ones of its training."""
    study = worlds.study()
    default = study.baseline
    steps = measured(default)["train_seconds"]
    speeds = dict.fromkeys(("accuracy", "train_samples"), 0)
    scores = {name: 0 for name in measured(default) if name not in speeds}
    quick, other = default.with_values(threads=2), default.with_values(learning_rate=1e-4)
    history = [
        finished(0, default, measured(default), seconds=steps + 1.5),
        finished(1, quick, measured(quick), sources=speeds, seconds=2.0),
        finished(2, other, measured(other), sources=scores, seconds=steps + 0.5),
    ]
    asked = [default.with_values(**settings) for settings in (
        {"learning_rate": 1e-3}, {"attention": "eager"},
        {"attention": "eager", "learning_rate": 1e-3}, {"threads": 2, "learning_rate": 1e-4},
    )]  # fmt: skip
    training, probe, both, nothing = _pool(study, history, asked).cost()
    assert (probe, nothing) == (2.0, 0.0)
    assert training < both < training + probe


def _pool(study: Study, history: list[Trial], strategies: list[object]) -> CandidateBatch:
    facts = Observations(study).learn(history)
    surrogates = Surrogates(study.space, MINILM)
    pending: dict[object, set[object]] = {Phase.PROFILE: set(), Phase.TRAIN: set()}
    return CandidateBatch(strategies, facts, surrogates, pending, 32, 0)  # type: ignore[arg-type]


def test_something_is_expected_of_every_strategy() -> None:
    study = worlds.study((*worlds.SPEED_ONLY, *worlds.CONTINUOUS))
    every = list(grid(study.space, points=4))
    groups = [group(strategy, phase_levers(Phase.PROFILE)) for strategy in every]
    found = FlopsPriorMean(MINILM).of(SPEED, groups, every)
    assert np.isfinite(found).all() and (found > 0).all()
