"""Constraints are judged by true scores, which one measurement does not show exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autotune.domain import (
    Categorical,
    Constraint,
    Dimension,
    Phase,
    Range,
    Strategy,
    Study,
    Trial,
    Value,
)
from autotune.levers import phase_levers
from autotune.tuner.samplers.factored import FactoredSampler
from autotune.tuner.samplers.factored.acquisition import AcquisitionScorer
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.constraints import Constraints
from autotune.tuner.samplers.factored.encoding import group_key
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.posterior import Posterior
from autotune.tuner.samplers.factored.surrogates import Surrogates
from tests.tuner import simulated_search as simulated
from tests.tuner.feasible_world import MINILM
from tests.tuner.simulated_search import finished_trial, simulate_metrics

SPACE = (
    Dimension("allocator", Categorical(("system", "tuned"))),
    Dimension("padding", Categorical(("dynamic", "bucketed"))),
    Dimension("pruning_ratio", Categorical((0.0, 0.5, 0.75))),
    Dimension("learning_rate", Categorical((5e-5, 1e-4, 2e-4))),
)


@pytest.fixture
def study() -> Study:
    return simulated.study(SPACE, constraints=[Constraint("accuracy", ">=", -0.01, relative=True)])


def measured(scores: list[tuple[Strategy, float]]) -> list[Trial]:
    return [
        finished_trial(number, strategy, {**simulate_metrics(strategy), "accuracy": score})
        for number, (strategy, score) in enumerate(scores)
    ]


def posterior_of(study: Study, history: list[Trial]) -> Posterior:
    observations = Observations(study).update(history)
    return Posterior(observations, Surrogates(study.space, MINILM), 32, 0)


def probability(study: Study, history: list[Trial], strategy: Strategy) -> float:
    posterior = posterior_of(study, history)
    batch = CandidateBatch([strategy], posterior, {Phase.PROFILE: set(), Phase.TRAIN: set()})
    constraints = Constraints(study, posterior, history[0])
    return float(constraints.satisfied_by_candidates(batch).mean())


def test_a_lucky_default_is_expected_to_be_worse_than_measured(study: Study) -> None:
    others = [study.baseline.with_values(padding=p, learning_rate=r)
              for p in ("dynamic", "bucketed") for r in (5e-5, 1e-4)][1:]  # fmt: skip
    history = measured([(study.baseline, 0.93), *((s, 0.90) for s in others)])
    scores = posterior_of(study, history).true_scores("accuracy")
    default = scores[group_key(study.baseline, phase_levers(Phase.TRAIN))]
    assert 0.90 < np.mean(default) < 0.928


def test_a_strategy_near_the_bound_satisfies_it_with_a_probability(study: Study) -> None:
    near = study.baseline.with_values(padding="bucketed")
    bad = study.baseline.with_values(pruning_ratio=0.75)
    history = measured([(study.baseline, 0.90), (near, 0.889), (bad, 0.70)])
    constraints = Constraints(study, posterior_of(study, history), history[0])
    default, close, violation = constraints.satisfied_by_trials(history).mean(axis=1)
    assert (default, violation) == (1.0, 0.0)
    assert 0.1 < close < 0.9


def test_free_settings_are_as_feasible_as_the_default(
    study: Study,
) -> None:
    history = measured([(study.baseline, 0.90)])
    assert probability(study, history, study.baseline.with_values(allocator="tuned")) == 1.0


def test_an_infeasible_region_is_left_after_few_trials(study: Study) -> None:
    """Also if the trials predict a single class."""
    rates = (5e-5, 1e-4, 2e-4)
    pruned = [study.baseline.with_values(pruning_ratio=0.75, learning_rate=r) for r in rates]
    history = measured([(study.baseline, 0.90)])
    before = probability(study, history, pruned[2])
    history = measured([(study.baseline, 0.90), (pruned[0], 0.51), (pruned[1], 0.51)])
    assert probability(study, history, pruned[2]) < min(before, 0.1)
    bucketed = study.baseline.with_values(padding="bucketed")
    assert probability(study, history, bucketed) > 0.5, "other levers are not to blame"


def test_a_region_in_which_trials_are_stopped_is_left(study: Study) -> None:
    pruned = [study.baseline.with_values(pruning_ratio=0.5, learning_rate=r) for r in (5e-5, 1e-4)]
    other = study.baseline.with_values(pruning_ratio=0.5, learning_rate=2e-4)
    history = measured([(study.baseline, 0.90)])
    before = probability(study, history, other)

    def stopped(reason: str) -> list[Trial]:
        values = {"train_samples_per_second": 300.0}
        return [
            replace(finished_trial(n, strategy, values, state="pruned"), reason=reason)
            for n, strategy in enumerate(pruned, start=1)
        ]

    (constraint,) = study.constraints
    violating = stopped(f"{constraint} holds with a probability of 2%")
    assert probability(study, [*history, *violating], other) < 0.7 * before
    earlier = stopped(f"{replace(constraint, bound=-0.07)} holds with a probability of 2%")
    assert probability(study, [*history, *earlier], other) < 0.7 * before, "the bound has changed"
    foreign = stopped(f"deployed_{constraint} holds with a probability of 2%")
    assert probability(study, [*history, *foreign], other) == before
    dominated = stopped("dominated by trial 0 even if it reaches accuracy 0.89")
    assert probability(study, [*history, *dominated], other) == before


def test_what_costs_nothing_is_tried_before_what_is_pruned_most(study: Study) -> None:
    proposed = FactoredSampler(study, MINILM).ask(measured([(study.baseline, 0.90)]))
    assert proposed is not None
    assert proposed["pruning_ratio"] != 0.75


def test_what_comes_closest_to_a_bound_is_tried_where_nothing_is_expected_to_keep_it() -> None:
    """No posterior sample of any candidate satisfies the constraint."""
    study = simulated.study(SPACE, constraints=[Constraint("accuracy", ">=", 0.99)])
    rates = (5e-5, 1e-4, 2e-4)
    pruned = [study.baseline.with_values(pruning_ratio=0.5, learning_rate=r) for r in rates]
    worst = [study.baseline.with_values(pruning_ratio=0.75, learning_rate=r) for r in rates]
    scores = [(study.baseline, 0.80), *((s, 0.70) for s in pruned), *((s, 0.52) for s in worst)]
    history = measured(scores)
    candidates = [
        study.baseline.with_values(padding="bucketed", pruning_ratio=ratio)
        for ratio in (0.75, 0.5, 0.0)
    ]
    posterior = posterior_of(study, history)
    batch = CandidateBatch(candidates, posterior, {phase: set() for phase in Phase})
    constraints = Constraints(study, posterior, history[0])
    assert not constraints.satisfied_by_candidates(batch).any()
    worth = AcquisitionScorer(study, posterior, history[0]).scores(batch, 3, np.ones(3))
    assert worth is not None
    assert int(worth.argmax()) == 2
    assert worth[2] > 0


def test_a_gain_in_speed_is_worth_more_than_one_in_a_score_that_a_bound_limits() -> None:
    """Both candidates combine cached phases, so that their values are known and cost nothing."""
    study = simulated.study(
        (Dimension("threads", Categorical((1, 2))), *SPACE),
        constraints=[Constraint("accuracy", ">=", -0.05, relative=True)],
    )
    fast: dict[str, Value] = {"allocator": "tuned"}
    accurate: dict[str, Value] = {"learning_rate": 2e-4}
    trials: list[tuple[dict[str, Value], float, float]] = [
              ({}, 100.0, 0.90), ({**fast, "learning_rate": 1e-4}, 110.0, 0.60),
              ({**accurate, "threads": 2}, 50.0, 0.99)]  # fmt: skip
    history = []
    for number, (settings, speed, score) in enumerate(trials):
        strategy = study.baseline.with_values(**settings)
        values = {"train_samples_per_second": speed, "accuracy": score}
        values = {**simulate_metrics(strategy), **values}
        history.append(finished_trial(number, strategy, values))
    posterior = posterior_of(study, history)
    candidates = [study.baseline.with_values(**settings) for settings in (fast, accurate)]
    batch = CandidateBatch(candidates, posterior, {phase: set() for phase in Phase})
    worth = AcquisitionScorer(study, posterior, history[0]).scores(batch, 2, np.ones(2))
    assert worth is not None
    assert worth[0] > 4 * worth[1] > 0, "with equal weights it is worth twice as much"


def test_an_untried_strategy_can_deviate_from_the_effects_of_its_levers(study: Study) -> None:
    """Scores that no effects of levers explain show how much strategies deviate."""
    rates, scores = (5e-5, 1e-4, 2e-4), (0.90, 0.70, 0.88, 0.72, 0.91)
    settings: list[dict[str, Value]]
    settings = [{"padding": p, "learning_rate": r} for p in ("dynamic", "bucketed") for r in rates]
    strategies = [study.baseline.with_values(**values) for values in settings]
    history = measured(list(zip(strategies[:5], scores, strict=True)))
    batch = CandidateBatch(
        [strategies[5]], posterior_of(study, history), {phase: set() for phase in Phase}
    )
    samples, effects = batch.true_samples("accuracy"), batch.metric_samples("accuracy")
    assert samples is not None
    assert effects is not None
    assert samples.std() > 1.1 * effects.std()


def test_another_learning_rate_is_no_new_chance_for_a_strategy() -> None:
    """What its levers do not explain, it has in common with those at other rates."""
    dimensions = (*SPACE[:3], Dimension("learning_rate", Range(2e-5, 2e-3, log=True)))
    bound = Constraint("accuracy", ">=", -0.01, relative=True)
    study = simulated.study(dimensions, constraints=[bound])
    pruned = study.baseline.with_values(pruning_ratio=0.5)
    rates = (1.2e-4, 1.6e-4, 2.0e-4, 2.6e-4)
    history = measured([
        (study.baseline, 0.90), (study.baseline.with_values(padding="bucketed"), 0.90),
        *((pruned.with_values(learning_rate=rate), 0.88) for rate in rates),
    ])  # fmt: skip
    posterior = posterior_of(study, history)
    surrogate, encoder = (
        posterior.surrogate(Phase.TRAIN, "accuracy"),
        posterior.encoders[Phase.TRAIN],
    )
    assert surrogate is not None and surrogate.process is not None
    near, other = pruned.with_values(learning_rate=1.8e-4), pruned.with_values(padding="bucketed")
    _, (same, new) = surrogate.process.predict(encoder.encode([near, other]), with_residuals=True)
    _, (same_effects, _) = surrogate.process.predict(encoder.encode([near, other]))
    assert same < new
    assert same**2 - same_effects**2 < 0.5 * surrogate.process._residuals.variance
