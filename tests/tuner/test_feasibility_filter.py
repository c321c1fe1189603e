"""The feasibility filter: which strategies it skips, on its own and in a search."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotune.analysis.budget import BudgetUsage
from autotune.domain import (
    Budget,
    Completed,
    Constraint,
    Device,
    Failed,
    FailureReason,
    Infeasible,
    Job,
    Limits,
    Outcome,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.search_space import grid
from autotune.store import SqlStore, open_store
from autotune.tuner.feasibility.filter import PREDICTIONS, FeasibilityFilter, find_faster
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.tuner.feasible_world import MINILM, SPACE, World, study_of
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver

DEFAULT = Strategy(SPACE.defaults)
HUGE = DEFAULT.with_values(batch_size=64, padding="fixed", attention="eager")
NO_LIMITS = Limits()
DID_NOT_FIT = (FailureReason.PREDICTED, FailureReason.OUT_OF_MEMORY)


def shuffled(seed: int) -> list[Strategy]:
    strategies = list(grid(SPACE))
    random.Random(seed).shuffle(strategies)
    return strategies


def skipped(number: int, strategy: Strategy, rejection: Infeasible) -> Trial:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Trial(number, State.RUNNING, strategy, started_at=now).finish(rejection, now)


def search(study: Study, world: World, seed: int, trials: int) -> list[Trial]:
    """A random search that runs ``trials`` strategies and skips those that the filter rejects."""
    limits = study.limits
    check = FeasibilityFilter(study, HOST, world.profile).check
    history = [world.trial(0, DEFAULT, limits)]
    for strategy in shuffled(seed):
        if sum(t.failure != FailureReason.PREDICTED for t in history) == trials:
            break
        rejection = check(strategy, history)
        number = len(history)
        if rejection is None:
            history.append(world.trial(number, strategy, limits))
        else:
            history.append(skipped(number, strategy, rejection))
    return history


def half_fits(world: World) -> Limits:
    """A memory limit that half of the grid exceeds."""
    peaks = sorted(world.peak_gib(strategy) for strategy in grid(SPACE))
    return Limits(memory_gib=peaks[len(peaks) // 2])


def test_at_most_one_of_40_trials_runs_out_of_memory_when_half_the_grid_does_not_fit(
    study: Study,
) -> None:
    failures, ran = [], []
    for seed in range(6):
        world = World(seed, noise=0.05)
        trials = search(study_of(study, half_fits(world)), world, seed, 40)
        failures.append(
            sum(
                t.failure == FailureReason.OUT_OF_MEMORY
                for t in trials
                if t.origin == TrialOrigin.SAMPLED
            )
        )
        ran.append(sum(t.failure != FailureReason.PREDICTED for t in trials))
    assert ran == [40] * 6  # and no search stalls
    assert max(failures) <= 1


def test_strategies_far_below_the_limit_are_never_skipped(study: Study) -> None:
    trials = search(study_of(study, Limits(memory_gib=100)), World(), 3, 60)
    assert not [t for t in trials if t.failure == FailureReason.PREDICTED]


def test_a_skipped_strategy_records_its_predictions(study: Study) -> None:
    world = World()
    history = [world.trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(0)[:10]])]
    rejection = FeasibilityFilter(study_of(study, Limits(memory_gib=1.0)), HOST, MINILM).check(
        HUGE, history
    )
    assert rejection is not None
    assert rejection.failure == FailureReason.PREDICTED
    assert "the limit is 1.00 GiB" in rejection.reason
    predictions = rejection.result.environment[PREDICTIONS]
    low, high = predictions["intervals"]["peak_memory_gib"]
    assert 1.0 < low < predictions["peak_memory_gib"] < high
    assert predictions["limits"] == {"peak_memory_gib": 1.0}


def test_strategies_near_the_limit_are_tried_until_one_fails(study: Study) -> None:
    world = World(noise=0.0)
    history = [world.trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(0)[:12]])]
    limits = Limits(memory_gib=world.peak_gib(HUGE) * 1.01)
    feasibility = FeasibilityFilter(study_of(study, limits), HOST, MINILM)
    assert feasibility.check(HUGE, history) is None
    out_of_memory = replace(
        world.trial(13, DEFAULT.with_values(batch_size=64, optimizer="sgd")),
        state=State.INFEASIBLE, failure=FailureReason.OUT_OF_MEMORY, result=TrialResult(),
    )  # fmt: skip
    assert feasibility.check(HUGE, [*history, out_of_memory]) is not None


@pytest.mark.parametrize(
    ("outcome", "same"),
    [
        (Infeasible(FailureReason.OUT_OF_MEMORY, "used too much"), {"learning_rate": 1e-4}),
        (Failed(FailureReason.CRASH, "killed by SIGSEGV"), {"learning_rate": 1e-4}),
        (Infeasible(FailureReason.NAN_LOSS, "the loss is nan"), {"activation_checkpointing": True}),
    ],
    ids=lambda case: getattr(case, "failure", ""),
)
def test_a_failure_is_not_repeated(study: Study, outcome: Outcome, same: dict[str, Any]) -> None:
    world = World()
    start = datetime(2026, 1, 2, tzinfo=UTC)
    running = Trial(1, State.RUNNING, HUGE, started_at=start)
    history = [world.trial(0, DEFAULT), running.finish(outcome, start)]
    feasibility = FeasibilityFilter(study_of(study, Limits(memory_gib=6)), HOST, MINILM)
    rejection = feasibility.check(HUGE.with_values(**same), history)
    assert rejection is not None
    assert "trial 1" in rejection.reason
    assert feasibility.check(DEFAULT.with_values(batch_size=16), history) is None


def test_a_raised_limit_allows_strategies_that_did_not_fit(study: Study) -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC)
    environment = {PREDICTIONS: {"limits": {"peak_memory_gib": 1.0}}}
    out_of_memory = Trial(1, State.RUNNING, HUGE, started_at=start).finish(
        Infeasible(
            FailureReason.OUT_OF_MEMORY, "used too much", TrialResult(environment=environment)
        ),
        start,
    )
    history = [World().trial(0, DEFAULT), out_of_memory]
    wide = study_of(study, Limits(memory_gib=30.0))
    assert FeasibilityFilter(wide, HOST, MINILM).check(HUGE, history) is None


def test_a_constraint_on_memory_is_a_limit(study: Study) -> None:
    bounded = replace(
        study_of(study, NO_LIMITS),
        constraints=(Constraint("peak_memory_gib", "<=", 0.1, relative=True),),
    )
    history = [World().trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(0)[:6]])]
    rejection = FeasibilityFilter(bounded, HOST, MINILM).check(HUGE, history)
    assert rejection is not None
    assert "peak_memory_gib <= baseline + 0.1" in rejection.reason


def test_gpu_memory_is_a_limit(study: Study) -> None:
    host = replace(HOST, devices=(*HOST.devices, Device("cuda:0", "cuda", memory_gib=2.0)))
    feasibility = FeasibilityFilter(study_of(study, NO_LIMITS), host, MINILM)
    strategy = HUGE.with_values(device="cuda:0", batch_size=512)
    rejection = feasibility.check(strategy, [])
    assert rejection is not None
    assert "GPU memory" in rejection.reason
    assert feasibility.check(strategy.with_values(batch_size=8), []) is None


def test_the_memory_of_all_gpus_of_a_strategy_is_the_limit(study: Study) -> None:
    gpus = [Device(f"cuda:{n}", "cuda", memory_gib=10.0) for n in range(2)]
    host = replace(HOST, devices=(*HOST.devices, *gpus))
    feasibility = FeasibilityFilter(study_of(study, NO_LIMITS), host, MINILM)
    strategy = DEFAULT.with_values(device="cuda:0", batch_size=256)
    peak = feasibility.predict(strategy, [])["device_memory_gib"]
    assert 5.0 < peak < 8.0
    both = strategy.with_values(parallelism="ddp:2", batch_size=512)
    assert feasibility.predict(both, [])["device_memory_gib"] > 10.0
    assert feasibility.check(both, []) is None
    assert feasibility.check(strategy.with_values(batch_size=512), []) is not None


def test_a_split_model_keeps_on_the_cpu_what_does_not_fit(study: Study) -> None:
    host = replace(HOST, devices=(*HOST.devices, Device("cuda:0", "cuda", memory_gib=1.0)))
    feasibility = FeasibilityFilter(study_of(study, NO_LIMITS), host, MINILM)
    strategy = DEFAULT.with_values(device="cuda:0", batch_size=512)
    assert feasibility.check(strategy, []) is not None
    assert feasibility.check(strategy.with_values(placement="split:memory"), []) is None


def test_a_measured_peak_replaces_the_prediction(study: Study) -> None:
    world = World()
    limits = Limits(memory_gib=world.peak_gib(HUGE) * 1.1)
    history = [world.trial(0, DEFAULT), world.trial(1, HUGE)]
    feasibility = FeasibilityFilter(study_of(study, limits), HOST, MINILM)
    predictions = feasibility.predict(HUGE.with_values(learning_rate=1e-4), history)
    assert predictions["peak_memory_gib"] == pytest.approx(world.peak_gib(HUGE), rel=1e-3)


def test_only_clearly_slow_strategies_are_skipped(study: Study) -> None:
    world = World()
    history = [world.trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(6)[:12]])]
    duration = world.seconds(DEFAULT)
    bounded = study_of(study, Limits(minutes=duration / 60))
    feasibility = FeasibilityFilter(bounded, HOST, MINILM)
    assert feasibility.check(DEFAULT.with_values(learning_rate=1e-4), history) is None
    rejection = feasibility.check(DEFAULT.with_values(epochs=9.0), history)
    assert rejection is not None
    assert "predicted to take" in rejection.reason


def test_a_faster_strategy_differs_in_as_few_levers_as_possible() -> None:
    def seconds(strategy: Strategy) -> float:
        return 10.0 if strategy["pruning_ratio"] == 0.0 else 4.0

    faster = find_faster(SPACE, DEFAULT, {DEFAULT.key}, seconds, 5.0)
    assert faster == DEFAULT.with_values(pruning_ratio=0.5)
    assert find_faster(SPACE, DEFAULT, {DEFAULT.key}, seconds, 3.0) is None


# ------------------------------------------------------------------------------ in a search


def run_search(study: Study, store: SqlStore, world: World, directory: Path) -> list[Trial]:
    def evaluate(job: Job, report: Any) -> Outcome:
        return world.run(job.strategy, study.limits)[0]

    if study.name not in store.studies():
        store.create_study(study, {})
    feasibility = FeasibilityFilter(study, HOST, world.profile)
    make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST, directory=directory,
        observer=RecordingObserver(), feasibility=feasibility,
    ).run(evaluate)  # fmt: skip
    return [store.trial(study.name, t.number) for t in store.trials(study.name)]


def limited(study: Study, world: World, sampler: str) -> Study:
    small = replace(study_of(study, half_fits(world)), budget=Budget(trials=12))
    return replace(small, sampler=replace(small.sampler, kind=sampler))


def test_the_search_records_predictions_and_runs_no_skipped_trial(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    world = World()
    small = limited(study, world, "random")
    trials = run_search(small, store, world, tmp_path)
    skipped_trials = [t for t in trials if t.failure == FailureReason.PREDICTED]
    ran = [t for t in trials if t.failure != FailureReason.PREDICTED]
    assert skipped_trials and len(ran) == 12 == BudgetUsage(trials, None).trials
    assert all(not t.result.measurements for t in skipped_trials)
    assert all("peak_memory_gib" in t.result.environment[PREDICTIONS] for t in trials)
    assert "seconds" in ran[-1].result.environment[PREDICTIONS]


def test_strategies_that_did_not_fit_are_proposed_again_under_a_raised_limit(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    world = World()
    small = limited(study, world, "grid")
    before = run_search(small, store, world, tmp_path)
    did_not_fit = {t.strategy.key for t in before if t.failure in DID_NOT_FIT}
    wide = replace(small, limits=NO_LIMITS, budget=Budget(trials=12 + len(did_not_fit)))
    after = run_search(wide, store, world, tmp_path)[len(before) :]
    assert did_not_fit and did_not_fit <= {t.strategy.key for t in after}
    assert {t.failure for t in after} == {None}
    completed = [t.strategy.key for t in [*before, *after] if t.state is State.COMPLETE]
    assert len(completed) == len(set(completed)), "strategies that fit run once"


def test_a_strategy_that_exceeds_the_budget_is_replaced_by_a_faster_one(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    world, start = World(noise=0.0), datetime(2026, 1, 1, tzinfo=UTC)
    clock = [start]
    duration = world.seconds(DEFAULT)
    timed_study = replace(
        study_of(study, NO_LIMITS), budget=Budget(minutes=1.6 * duration / 60), start_with=()
    )
    started: list[Strategy] = []

    def evaluate(job: Job, report: Any) -> Outcome:
        started.append(job.strategy)
        outcome, seconds = world.run(job.strategy, NO_LIMITS)
        clock[0] += timedelta(seconds=seconds)
        return outcome if isinstance(outcome, Completed) else Completed(TrialResult())

    class SlowStrategies:
        def ask(self, history: Any) -> Strategy:
            return DEFAULT.with_values(epochs=5.0, learning_rate=1e-5 * (1 + len(history)))

    timed_store = open_store(f"sqlite:///{tmp_path}/c.db", clock=lambda: clock[0])
    timed_store.create_study(timed_study, {})
    feasibility = FeasibilityFilter(timed_study, HOST, world.profile)
    make_tuner(
        timed_study, timed_store, SlowStrategies(), InlineExecutor(), HOST, directory=tmp_path,
        observer=RecordingObserver(), feasibility=feasibility, clock=lambda: clock[0],
    ).run(evaluate)  # fmt: skip
    timed_store.close()
    assert started[0] == DEFAULT
    assert all(strategy["epochs"] == 1.0 for strategy in started)
