"""The factored sampler: its proposals, and the time it needs to reach a hypervolume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from autotune.analysis.hypervolume import hypervolume
from autotune.domain import (
    Constraint,
    FailureReason,
    Objective,
    Phase,
    State,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.domain.search_space import candidate_values, contains, excluded, grid
from autotune.levers import phase_levers, profile_key, training_key
from autotune.tuner.samplers.factored import FactoredSampler
from autotune.tuner.samplers.factored.candidates import Candidates
from autotune.tuner.samplers.factored.encoding import Encoder, group_key
from autotune.tuner.samplers.optuna import OptunaSampler
from tests.tuner import simulated_search as simulated
from tests.tuner.simulated_search import (
    SimulatedSearch,
    failed_trial,
    finished_trial,
    simulate_metrics,
)


def test_groups_agree_with_cache_keys() -> None:
    strategies = list(grid(simulated.study().space))
    for levers, key in (
        (phase_levers(Phase.PROFILE), profile_key),
        (phase_levers(Phase.TRAIN), training_key),
    ):
        pairs = {(group_key(strategy, levers), key(strategy)) for strategy in strategies}
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def test_derived_quantities_are_kernel_dimensions_of_the_train_phase() -> None:
    """Three times the batch size and three times the epochs give the same number of updates."""
    study = simulated.study((*simulated.SPEED_ONLY, *simulated.MIXED, *simulated.TRAINING_ONLY))
    base = study.baseline.with_values(batch_size=8, epochs=1.0)
    same = base.with_values(batch_size=24, epochs=3.0)
    for levers, derived in ((phase_levers(Phase.PROFILE), 0), (phase_levers(Phase.TRAIN), 2)):
        encoder = Encoder(study.space, levers)
        searched = sum(d.lever in levers for d in study.space.dimensions)
        assert len(encoder.kernel_dimensions) == searched + derived + 1
        first, second = encoder.encode([base, same])
        assert (first[searched : searched + derived] == second[searched : searched + derived]).all()


def test_proposals_are_untried_and_allowed() -> None:
    study = simulated.study((*simulated.SPEED_ONLY, *simulated.CONTINUOUS))
    trials = SimulatedSearch(study).run(16)
    assert len({trial.strategy.key for trial in trials}) == 16
    for trial in trials[1:]:
        assert excluded(study.space, trial.strategy) is None
        for dimension in study.space.dimensions:
            if dimension.when is None:
                assert contains(dimension.domain, trial.strategy[dimension.lever])


def test_candidates_have_equal_or_different_rates() -> None:
    study = simulated.study((*simulated.SPEED_ONLY, *simulated.CONTINUOUS))
    parent = study.baseline.with_values(learning_rate=2e-4)
    candidates = Candidates(study.space, 0, [parent]).untried({parent.key}, [parent])
    values = candidate_values(study.space, simulated.CONTINUOUS[-1], [parent])
    assert {candidate["learning_rate"] for candidate in candidates} == {*values}
    ratios = [float(b) / float(a) for a, b in pairwise(values)]
    assert 5e-5 in values and 2e-4 in values and min(ratios) > 1.2


def test_a_continuous_space_is_not_exhausted() -> None:
    study = simulated.study(simulated.CONTINUOUS[-1:])
    space, tried = study.space, set[str]()
    for _ in range(3):
        candidates = Candidates(space, 0).untried(tried, [study.baseline])
        assert len(candidates) >= 16
        tried |= {candidate.key for candidate in candidates}


def test_exhausts_a_small_space() -> None:
    study = simulated.study((*simulated.SPEED_ONLY[:2], *simulated.TRAINING_ONLY))
    trials = SimulatedSearch(study).run(100)
    strategies = {strategy.key for strategy in grid(study.space)}
    assert strategies <= {trial.strategy.key for trial in trials}
    assert len(trials) == len(strategies | {study.baseline.key})


@pytest.mark.parametrize("dimensions", [
    simulated.SPEED_ONLY + simulated.CONTINUOUS,
    simulated.SPEED_ONLY + simulated.TRAINING_ONLY,
])  # fmt: skip
def test_a_fresh_sampler_proposes_the_same(dimensions: Sequence[object]) -> None:
    study = simulated.study(dimensions)  # type: ignore[arg-type]
    trials = SimulatedSearch(study).run(12)
    for cut in (1, 4, 11):
        assert FactoredSampler(study).ask(trials[:cut]) == trials[cut].strategy


def test_the_order_in_which_trials_finish_does_not_matter() -> None:
    study = simulated.study()
    trials = SimulatedSearch(study).run(10)
    unordered, sampler = [*trials[:4], _running(trials[4]), *trials[5:]], FactoredSampler(study)
    sampler.ask(unordered)
    assert sampler.ask(trials) == FactoredSampler(study).ask(trials)


def _running(trial: Trial) -> Trial:
    return replace(trial, state=State.RUNNING, finished_at=None, result=type(trial.result)())


def test_combines_cached_phases_before_it_measures() -> None:
    """One trial measured fast settings, another a good learning rate: both are cached."""
    study = simulated.study((*simulated.SPEED_ONLY, *simulated.TRAINING_ONLY))
    search = SimulatedSearch(study)
    fast = {"threads": 2, "attention": "sdpa", "allocator": "tuned"}
    search.run_trial(study.baseline.with_values(**fast, learning_rate=1e-5))
    search.run_trial(study.baseline.with_values(learning_rate=1e-4, epochs=3.0, threads=1))
    proposal = FactoredSampler(study).ask(search.history)
    assert proposal == study.baseline.with_values(**fast, learning_rate=1e-4, epochs=3.0)


def test_needs_less_time_than_random_search_with_a_cache() -> None:
    study = simulated.study()
    strategies = [study.baseline, *grid(study.space)]
    exhaustive = [finished_trial(n, s, simulate_metrics(s)) for n, s in enumerate(strategies)]
    total = hypervolume(study, exhaustive) or 0.0
    seconds = _seconds_to(SimulatedSearch(study), 0.95 * total)
    random_seconds = [_seconds_to(_random(study, seed), 0.95 * total) for seed in range(3)]
    assert seconds < 0.6 * sorted(random_seconds)[1]


def _random(study: Study, seed: int) -> SimulatedSearch:
    other = replace(study, sampler=replace(study.sampler, seed=seed, kind="random"))
    return SimulatedSearch(study, OptunaSampler(other, "random"))


def _seconds_to(search: SimulatedSearch, target: float) -> float:
    for _ in search.iterate(150):
        if (hypervolume(search.study, search.history) or 0.0) >= target:
            break
    return search.seconds


def test_does_not_train_strategies_that_violate_a_constraint() -> None:
    bound = Constraint("peak_memory_gib", "<=", 1.5)
    study = simulated.study(constraints=[bound])
    trials = SimulatedSearch(study).run(20)
    violating = [t for t in trials[1:] if (t.metric("peak_memory_gib") or 0.0) > bound.bound]
    assert len(violating) <= 2, "one trial shows that a batch of 64 needs too much memory"


OBJECTIVES = (
    Objective("train_samples_per_second", "maximize"), Objective("accuracy", "maximize"),
    Objective("cost_usd", "minimize"), Objective("inference_latency_ms", "minimize"),
    Objective("peak_memory_gib", "minimize"),
)  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_any_number_of_objectives(count: int) -> None:
    study = simulated.study(objectives=OBJECTIVES[:count])
    search = SimulatedSearch(study)
    search.run(10)
    before = hypervolume(study, search.history[:1])
    after = hypervolume(study, search.history)
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.parametrize("dimensions", [simulated.SPEED_ONLY, simulated.TRAINING_ONLY])
def test_a_space_of_one_phase(dimensions: Sequence[object]) -> None:
    study = simulated.study(dimensions)  # type: ignore[arg-type]
    trials = SimulatedSearch(study).run(100)
    strategies = {strategy.key for strategy in grid(study.space)}
    assert strategies <= {trial.strategy.key for trial in trials}


def test_finds_the_fastest_settings_first() -> None:
    study = simulated.study(simulated.SPEED_ONLY, OBJECTIVES[:1])
    trials = SimulatedSearch(study).run(8)
    best = max(simulate_metrics(s)["train_samples_per_second"] for s in grid(study.space))
    assert max(t.metric("train_samples_per_second") or 0.0 for t in trials) == best


def test_unmeasured_metrics() -> None:
    """Only measured metrics are modelled; without any objective the search continues."""
    study = simulated.study()
    baseline = finished_trial(0, study.baseline, {"accuracy": 0.5})
    assert FactoredSampler(study).ask([baseline]) is not None
    other = study.baseline.with_values(threads=1)
    assert (
        FactoredSampler(study).ask([baseline, finished_trial(1, other, simulate_metrics(other))])
        is not None
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_invalid_values_are_ignored(value: float) -> None:
    study = simulated.study()
    invalid = study.baseline.with_values(threads=1)
    values = {**simulate_metrics(invalid), "train_samples_per_second": value, "accuracy": value}
    history = [*SimulatedSearch(study).run(3), finished_trial(3, invalid, values)]
    assert FactoredSampler(study).ask(history) is not None


def test_a_history_of_failures_only() -> None:
    study = simulated.study()
    strategies = [study.baseline, *grid(study.space)]
    history = [
        failed_trial(n, s, State.INFEASIBLE, "out_of_memory") for n, s in enumerate(strategies[:6])
    ]
    proposed = FactoredSampler(study).ask(history)
    assert proposed is not None
    assert proposed.key not in {trial.strategy.key for trial in history}


def test_learns_out_of_memory_failures() -> None:
    """A batch size that ran out of memory is not tried again with other settings."""
    study = simulated.study()
    search, crashed = SimulatedSearch(study), 0
    while len(search.history) < 20:
        strategy = FactoredSampler(study).ask(search.history)
        assert strategy is not None
        if strategy["batch_size"] == 64:
            crashed += 1
            number = len(search.history)
            search.history.append(failed_trial(number, strategy, State.INFEASIBLE, "out_of_memory"))
        else:
            search.run_trial(strategy)
    assert crashed <= 5


@pytest.mark.parametrize("failure", ["predicted", "infrastructure"])
def test_trials_that_did_not_run_are_no_failures(failure: str) -> None:
    study = simulated.study()
    trials = SimulatedSearch(study).run(5)
    state = State.INFEASIBLE if failure == FailureReason.PREDICTED else State.FAILED
    strategy = study.baseline.with_values(batch_size=64, threads=1)
    sampler = FactoredSampler(study)
    sampler.ask([*trials, failed_trial(5, strategy, state, failure)])
    assert not sampler._observations.failures


def test_pending_measurements_are_not_repeated() -> None:
    """Two workers do not run the same phase of the same group."""
    study = simulated.study()
    trials = SimulatedSearch(study).run(6)
    first = FactoredSampler(study).ask(trials)
    assert first is not None
    running = Trial(6, State.RUNNING, first)
    second = FactoredSampler(study).ask([*trials, running])
    assert second is not None
    assert training_key(second) != training_key(first) or profile_key(second) != profile_key(first)


def test_a_stopped_training_is_not_repeated() -> None:
    """A training that was stopped is not run again with other speed settings."""
    study = simulated.study((*simulated.SPEED_ONLY, *simulated.TRAINING_ONLY))
    trials = SimulatedSearch(study).run(8)
    proposed = FactoredSampler(study).ask(trials)
    assert proposed is not None
    own = {n: v for n, v in simulate_metrics(proposed).items() if n != "accuracy"}
    stopped = finished_trial(8, proposed, own, state="pruned")
    following = FactoredSampler(study).ask([*trials, stopped])
    assert following is not None
    assert training_key(following) != training_key(proposed)


def test_without_sharing_nothing_is_cached() -> None:
    study = replace(simulated.study(), sharing=False)
    sampler = FactoredSampler(study)
    assert sampler.ask(SimulatedSearch(study).history) is not None
    assert not sampler._observations.cached[Phase.PROFILE]
    assert not sampler._observations.cached[Phase.TRAIN]


def test_transferred_trials_are_no_results() -> None:
    study = simulated.study()
    transferred = [
        replace(t, origin=TrialOrigin.TRANSFERRED) for t in SimulatedSearch(study).run(8)
    ]
    sampler = FactoredSampler(study)
    assert sampler.ask(transferred) is not None
    assert not sampler._observations.complete
    assert not sampler._observations.tried_keys


def test_levels_do_not_depend_on_the_order_of_calls() -> None:
    study = simulated.study((*simulated.SPEED_ONLY, *simulated.CONTINUOUS))
    trials = SimulatedSearch(study).run(9)
    sampler = FactoredSampler(study)
    for cut in range(1, 9):
        sampler.ask(trials[:cut])
    assert sampler.ask(trials) == FactoredSampler(study).ask(trials)
    assert np.isfinite([t.metric("accuracy") or 0.0 for t in trials]).all()


def test_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other cores are for the trials being measured."""
    thread_counts: list[int] = []

    def record_threads(self: FactoredSampler, history: Sequence[Trial]) -> None:
        thread_counts.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")

    monkeypatch.setattr(FactoredSampler, "_ask", record_threads)
    FactoredSampler(simulated.study()).ask([])
    assert thread_counts and set(thread_counts) == {1}
