"""The sampler that models speed and accuracy apart: what it proposes, and how little it wastes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from autotune.domain.search_space import contains, excluded, grid
from autotune.levers import phase_levers, profile_key, training_key
from autotune.search.samplers.factored import FactoredSampler
from autotune.search.samplers.factored.encoding import Encoder, group
from autotune.search.samplers.optuna import OptunaSampler
from tests.search import factored_worlds as worlds
from tests.search.factored_worlds import World, failed, finished, measured


def test_groups_are_those_that_trials_share_by() -> None:
    every = list(grid(worlds.study().space))
    for levers, key in (
        (phase_levers(Phase.PROFILE), profile_key),
        (phase_levers(Phase.TRAIN), training_key),
    ):
        pairs = {(group(strategy, levers), key(strategy)) for strategy in every}
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def test_updates_and_travel_are_axes_of_training_alone() -> None:
    """A batch of twice the size and twice the epochs make as many updates."""
    study = worlds.study((*worlds.SPEED_ONLY, *worlds.MIXED, *worlds.TRAINING_ONLY))
    base = study.baseline.with_values(batch_size=8, epochs=1.0)
    same = base.with_values(batch_size=24, epochs=3.0)
    for levers, more in ((phase_levers(Phase.PROFILE), 0), (phase_levers(Phase.TRAIN), 2)):
        encoder = Encoder(study.space, levers)
        searched = sum(d.lever in levers for d in study.space.dimensions)
        assert len(encoder.axes) == searched + more + 1
        one, other = encoder.encode([base, same])
        assert (one[searched : searched + more] == other[searched : searched + more]).all()


def test_proposes_only_what_is_new_and_allowed() -> None:
    study = worlds.study((*worlds.SPEED_ONLY, *worlds.CONTINUOUS))
    trials = World(study).walk(16)
    assert len({trial.strategy.key for trial in trials}) == 16
    for trial in trials[1:]:
        assert excluded(study.space, trial.strategy) is None
        for dimension in study.space.dimensions:
            if dimension.when is None:
                assert contains(dimension.domain, trial.strategy[dimension.lever])


def test_exhausts_a_small_space() -> None:
    study = worlds.study((*worlds.SPEED_ONLY[:2], *worlds.TRAINING_ONLY))
    trials = World(study).walk(100)
    offered = {strategy.key for strategy in grid(study.space)}
    assert offered <= {trial.strategy.key for trial in trials}
    assert len(trials) == len(offered | {study.baseline.key})


@pytest.mark.parametrize("dimensions", [worlds.SPEED_ONLY + worlds.CONTINUOUS,
                                        worlds.SPEED_ONLY + worlds.TRAINING_ONLY])  # fmt: skip
def test_a_fresh_sampler_goes_on_alike(dimensions: Sequence[object]) -> None:
    study = worlds.study(dimensions)  # type: ignore[arg-type]
    trials = World(study).walk(12)
    for cut in (1, 4, 11):
        assert FactoredSampler(study).ask(trials[:cut]) == trials[cut].strategy


def test_the_order_in_which_trials_ended_does_not_matter() -> None:
    study = worlds.study()
    trials = World(study).walk(10)
    late, sampler = [*trials[:4], _running(trials[4]), *trials[5:]], FactoredSampler(study)
    sampler.ask(late)
    assert sampler.ask(trials) == FactoredSampler(study).ask(trials)


def _running(trial: Trial) -> Trial:
    return replace(trial, state=State.RUNNING, finished_at=None, result=type(trial.result)())


def test_joins_known_halves_that_gain_before_it_measures_anything() -> None:
    """One trial knows the fast setting, another the good rate: together they cost nothing."""
    study = worlds.study((*worlds.SPEED_ONLY, *worlds.TRAINING_ONLY))
    world = World(study)
    fast = {"threads": 2, "attention": "sdpa", "allocator": "tuned"}
    world.run(study.baseline.with_values(**fast, learning_rate=1e-5))
    world.run(study.baseline.with_values(learning_rate=1e-4, epochs=3.0, threads=1))
    joined = FactoredSampler(study).ask(world.history)
    assert joined == study.baseline.with_values(**fast, learning_rate=1e-4, epochs=3.0)


def test_wastes_less_than_chance_that_shares_as_well() -> None:
    study = worlds.study()
    total = _volume(study, [finished(0, study.baseline, measured(study.baseline)),
                            *(finished(1, s, measured(s)) for s in grid(study.space))])  # fmt: skip
    ours = _seconds_to(World(study), 0.95 * total)
    chance = [_seconds_to(_random(study, seed), 0.95 * total) for seed in range(3)]
    assert ours < 0.6 * sorted(chance)[1]


def _random(study: Study, seed: int) -> World:
    other = replace(study, sampler=replace(study.sampler, seed=seed, kind="random"))
    return World(study, OptunaSampler(other, "random"))


def _volume(study: Study, trials: Sequence[Trial]) -> float:
    return hypervolume(study, [replace(t, number=n) for n, t in enumerate(trials)]) or 0.0


def _seconds_to(world: World, wanted: float) -> float:
    for _ in world.steps(150):
        if (hypervolume(world.study, world.history) or 0.0) >= wanted:
            break
    return world.seconds


def test_does_not_train_what_breaks_a_constraint() -> None:
    bound = Constraint("peak_memory_gib", "<=", 1.5)
    study = worlds.study(constraints=[bound])
    trials = World(study).walk(20)
    broken = [t for t in trials[1:] if (t.metric("peak_memory_gib") or 0.0) > bound.bound]
    assert len(broken) <= 2, "a batch of 64 takes too much, which one trial says of all"


OBJECTIVES = (
    Objective("train_samples_per_second", "maximize"), Objective("accuracy", "maximize"),
    Objective("cost_usd", "minimize"), Objective("inference_latency_ms", "minimize"),
    Objective("peak_memory_gib", "minimize"),
)  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_any_number_of_objectives(count: int) -> None:
    study = worlds.study(objectives=OBJECTIVES[:count])
    world = World(study)
    world.walk(10)
    before = hypervolume(study, world.history[:1])
    after = hypervolume(study, world.history)
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.parametrize("dimensions", [worlds.SPEED_ONLY, worlds.TRAINING_ONLY])
def test_a_space_of_one_half_only(dimensions: Sequence[object]) -> None:
    study = worlds.study(dimensions)  # type: ignore[arg-type]
    trials = World(study).walk(100)
    offered = {strategy.key for strategy in grid(study.space)}
    assert offered <= {trial.strategy.key for trial in trials}


def test_finds_the_best_of_speed_levers_first() -> None:
    study = worlds.study(worlds.SPEED_ONLY, OBJECTIVES[:1])
    trials = World(study).walk(8)
    best = max(measured(s)["train_samples_per_second"] for s in grid(study.space))
    assert max(t.metric("train_samples_per_second") or 0.0 for t in trials) == best


def test_metrics_that_are_missing() -> None:
    """Only what was measured is modelled; a search without any objective still goes on."""
    study = worlds.study()
    baseline = finished(0, study.baseline, {"accuracy": 0.5})
    assert FactoredSampler(study).ask([baseline]) is not None
    other = study.baseline.with_values(threads=1)
    assert FactoredSampler(study).ask([baseline, finished(1, other, measured(other))]) is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_odd_numbers_do_not_break_it(value: float) -> None:
    study = worlds.study()
    odd = study.baseline.with_values(threads=1)
    numbers = {**measured(odd), "train_samples_per_second": value, "accuracy": value}
    history = [*World(study).walk(3), finished(3, odd, numbers)]
    assert FactoredSampler(study).ask(history) is not None


def test_a_history_of_failures_only() -> None:
    study = worlds.study()
    every = [study.baseline, *grid(study.space)]
    history = [failed(n, s, State.INFEASIBLE, "out_of_memory") for n, s in enumerate(every[:6])]
    proposed = FactoredSampler(study).ask(history)
    assert proposed is not None
    assert proposed.key not in {trial.strategy.key for trial in history}


def test_learns_what_does_not_fit() -> None:
    """What ran out of memory at a large batch is not tried again in other colours."""
    study = worlds.study()
    world, crashed = World(study), 0
    while len(world.history) < 20:
        strategy = FactoredSampler(study).ask(world.history)
        assert strategy is not None
        if strategy["batch_size"] == 64:
            crashed += 1
            number = len(world.history)
            world.history.append(failed(number, strategy, State.INFEASIBLE, "out_of_memory"))
        else:
            world.run(strategy)
    assert crashed <= 5


@pytest.mark.parametrize("kind", ["predicted", "infrastructure"])
def test_what_was_not_tried_says_nothing(kind: str) -> None:
    study = worlds.study()
    trials = World(study).walk(5)
    state = State.INFEASIBLE if kind == FailureReason.PREDICTED else State.FAILED
    strategy = study.baseline.with_values(batch_size=64, threads=1)
    facts = FactoredSampler(study)
    facts.ask([*trials, failed(5, strategy, state, kind)])
    assert not facts._facts.failures


def test_what_runs_is_taken_as_known() -> None:
    """Two workers are not sent for the same thing."""
    study = worlds.study()
    trials = World(study).walk(6)
    first = FactoredSampler(study).ask(trials)
    assert first is not None
    running = Trial(6, State.RUNNING, first)
    second = FactoredSampler(study).ask([*trials, running])
    assert second is not None
    assert training_key(second) != training_key(first) or profile_key(second) != profile_key(first)


def test_a_stopped_trial_speaks_for_its_training() -> None:
    """What was stopped because it could not gain is not trained again at another speed."""
    study = worlds.study((*worlds.SPEED_ONLY, *worlds.TRAINING_ONLY))
    trials = World(study).walk(8)
    proposed = FactoredSampler(study).ask(trials)
    assert proposed is not None
    own = {n: v for n, v in measured(proposed).items() if n != "accuracy"}
    stopped = finished(8, proposed, own, state="pruned")
    again = FactoredSampler(study).ask([*trials, stopped])
    assert again is not None
    assert training_key(again) != training_key(proposed)


def test_without_sharing_nothing_is_free() -> None:
    study = replace(worlds.study(), sharing=False)
    sampler = FactoredSampler(study)
    assert sampler.ask(World(study).history) is not None
    assert not sampler._facts.known[Phase.PROFILE]
    assert not sampler._facts.known[Phase.TRAIN]


def test_hints_of_another_machine_are_no_results() -> None:
    study = worlds.study()
    elsewhere = [replace(t, origin=TrialOrigin.TRANSFERRED) for t in World(study).walk(8)]
    sampler = FactoredSampler(study)
    assert sampler.ask(elsewhere) is not None
    assert not sampler._facts.points
    assert not sampler._facts.tried


def test_levels_of_a_lever_do_not_depend_on_when_they_were_seen() -> None:
    study = worlds.study((*worlds.SPEED_ONLY, *worlds.CONTINUOUS))
    trials = World(study).walk(9)
    sampler = FactoredSampler(study)
    for cut in range(1, 9):
        sampler.ask(trials[:cut])
    assert sampler.ask(trials) == FactoredSampler(study).ask(trials)
    assert np.isfinite([t.metric("accuracy") or 0.0 for t in trials]).all()


def test_thinks_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other cores belong to trials that are being measured."""
    seen: list[int] = []

    def think(self: FactoredSampler, history: Sequence[Trial]) -> None:
        seen.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")

    monkeypatch.setattr(FactoredSampler, "_ask", think)
    FactoredSampler(worlds.study()).ask([])
    assert seen and set(seen) == {1}
