"""Feasibility, search: what is skipped, what is tried, and what is recorded of either."""

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
from autotune.search.feasibility.faster_neighbour import quicker
from autotune.search.feasibility.filter import PREDICTIONS, FeasibilityFilter
from autotune.search.feasibility.time_model import Timed, TimeModel
from autotune.search.samplers.registry import make_sampler
from autotune.search.tuner import make_tuner
from autotune.store import SqlStore, open_store
from tests.search.feasible_world import MINILM, SPACE, World, study_of
from tests.search.small_study import HOST, InlineExecutor, RecordingObserver

DEFAULT = Strategy(SPACE.defaults)
HUGE = DEFAULT.with_values(batch_size=64, padding="fixed", attention="eager")
NO_LIMITS = Limits()


def shuffled(seed: int) -> list[Strategy]:
    strategies = list(grid(SPACE))
    random.Random(seed).shuffle(strategies)
    return strategies


def skipped(number: int, strategy: Strategy, verdict: Infeasible) -> Trial:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Trial(number, State.RUNNING, strategy, started_at=now).finished(verdict, now)


def search(study: Study, world: World, seed: int, trials: int) -> list[Trial]:
    """A random search that runs ``trials`` strategies and skips what is judged infeasible."""
    limits = study.limits
    judge = FeasibilityFilter(study, HOST, world.anatomy).check
    history = [world.trial(0, DEFAULT, limits)]
    for strategy in shuffled(seed):
        if sum(t.failure != PREDICTIONS for t in history) == trials:
            break
        verdict = judge(strategy, history)
        number = len(history)
        done = world.trial(number, strategy, limits)
        history.append(done if verdict is None else skipped(number, strategy, verdict))
    return history


def half(world: World) -> Limits:
    peaks = sorted(world.peak_gib(strategy) for strategy in grid(SPACE))
    return Limits(memory_gib=peaks[len(peaks) // 2])


def test_one_trial_in_forty_runs_out_of_memory_where_half_the_grid_does_not_fit(
    study: Study,
) -> None:
    failures, ran = [], []
    for seed in range(6):
        world = World(seed, noise=0.05)
        found = search(study_of(study, half(world)), world, seed, 40)
        failures.append(
            sum(
                t.failure == FailureReason.OUT_OF_MEMORY
                for t in found
                if t.origin == TrialOrigin.SAMPLED
            )
        )
        ran.append(sum(t.failure != PREDICTIONS for t in found))
    assert ran == [40] * 6  # and no search is stuck
    assert max(failures) <= 1


def test_what_fits_with_room_to_spare_is_never_skipped(study: Study) -> None:
    found = search(study_of(study, Limits(memory_gib=100)), World(), 3, 60)
    assert not [t for t in found if t.failure == PREDICTIONS]


def test_a_skipped_strategy_says_what_was_predicted(study: Study) -> None:
    world = World()
    history = [world.trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(0)[:10]])]
    verdict = FeasibilityFilter(study_of(study, Limits(memory_gib=1.0)), HOST, MINILM).check(
        HUGE, history
    )
    assert verdict is not None
    assert verdict.failure == PREDICTIONS
    assert "the limit is 1.00 GiB" in verdict.reason
    noted = verdict.result.environment[PREDICTIONS]
    low, high = noted["intervals"]["peak_memory_gib"]
    assert 1.0 < low < noted["peak_memory_gib"] < high
    assert noted["limits"] == {"peak_memory_gib": 1.0}


def test_the_edge_is_tried_and_a_failure_makes_careful(study: Study) -> None:
    world = World(noise=0.0)
    history = [world.trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(0)[:12]])]
    limits = Limits(memory_gib=world.peak_gib(HUGE) * 1.01)
    feasibility = FeasibilityFilter(study_of(study, limits), HOST, MINILM)
    assert feasibility.check(HUGE, history) is None
    lost = replace(
        world.trial(13, DEFAULT.with_values(batch_size=64, optimizer="sgd")),
        state=State.INFEASIBLE, failure=FailureReason.OUT_OF_MEMORY, result=TrialResult(),
    )  # fmt: skip
    assert feasibility.check(HUGE, [*history, lost]) is not None


@pytest.mark.parametrize(
    ("outcome", "same"),
    [
        (Infeasible(FailureReason.OUT_OF_MEMORY, "held too much"), {"learning_rate": 1e-4}),
        (Failed(FailureReason.CRASH, "killed by SIGSEGV"), {"learning_rate": 1e-4}),
        (Infeasible(FailureReason.NAN_LOSS, "the loss is nan"), {"activation_checkpointing": True}),
    ],
    ids=lambda case: getattr(case, "kind", ""),
)
def test_the_same_mistake_is_not_made_again(
    study: Study, outcome: Outcome, same: dict[str, Any]
) -> None:
    world = World()
    start = datetime(2026, 1, 2, tzinfo=UTC)
    running = Trial(1, State.RUNNING, HUGE, started_at=start)
    history = [world.trial(0, DEFAULT), running.finished(outcome, start)]
    feasibility = FeasibilityFilter(study_of(study, Limits(memory_gib=6)), HOST, MINILM)
    verdict = feasibility.check(HUGE.with_values(**same), history)
    assert verdict is not None
    assert "trial 1" in verdict.reason
    assert feasibility.check(DEFAULT.with_values(batch_size=16), history) is None


def test_a_raised_limit_reopens_what_did_not_fit(study: Study) -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC)
    noted = {PREDICTIONS: {"limits": {"peak_memory_gib": 1.0}}}
    lost = Trial(1, State.RUNNING, HUGE, started_at=start).finished(
        Infeasible(FailureReason.OUT_OF_MEMORY, "held too much", TrialResult(environment=noted)),
        start,
    )
    history = [World().trial(0, DEFAULT), lost]
    wide = study_of(study, Limits(memory_gib=30.0))
    assert FeasibilityFilter(wide, HOST, MINILM).check(HUGE, history) is None


def test_a_constraint_on_memory_is_a_limit(study: Study) -> None:
    bounded = replace(
        study_of(study, NO_LIMITS),
        constraints=(Constraint("peak_memory_gib", "<=", 0.1, relative=True),),
    )
    history = [World().trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(0)[:6]])]
    verdict = FeasibilityFilter(bounded, HOST, MINILM).check(HUGE, history)
    assert verdict is not None
    assert "peak_memory_gib <= baseline + 0.1" in verdict.reason


def test_the_memory_of_an_accelerator_is_a_limit(study: Study) -> None:
    host = replace(HOST, devices=(*HOST.devices, Device("cuda:0", "cuda", memory_gib=2.0)))
    feasibility = FeasibilityFilter(study_of(study, NO_LIMITS), host, MINILM)
    strategy = HUGE.with_values(device="cuda:0", batch_size=512)
    verdict = feasibility.check(strategy, [])
    assert verdict is not None
    assert "device memory" in verdict.reason
    assert feasibility.check(strategy.with_values(batch_size=8), []) is None


def test_a_measured_peak_is_worth_more_than_a_prediction(study: Study) -> None:
    world = World()
    limits = Limits(memory_gib=world.peak_gib(HUGE) * 1.1)
    history = [world.trial(0, DEFAULT), world.trial(1, HUGE)]
    feasibility = FeasibilityFilter(study_of(study, limits), HOST, MINILM)
    foretold = feasibility.predict(HUGE.with_values(learning_rate=1e-4), history)
    assert foretold["peak_memory_gib"] == pytest.approx(world.peak_gib(HUGE), rel=1e-3)


# ------------------------------------------------------------------------------- time


def timed(world: World, strategies: list[Strategy]) -> list[Timed]:
    return [Timed(s, world.seconds(s), world.speed(s)) for s in strategies]


def test_seconds_are_learned() -> None:
    world = World(noise=0.05)
    model = TimeModel(MINILM, timed(world, shuffled(4)[:25]))
    rest = shuffled(4)[25:125]
    found = [(model.predict(s), world.seconds(s)) for s in rest]
    errors = [abs(p.value / took - 1) for p, took in found if p is not None]
    assert len(errors) == 100
    assert sum(errors) / 100 < 0.15
    assert sum(p.low <= took <= p.high for p, took in found if p is not None) > 80


def test_epochs_cost_time_and_nothing_is_claimed_before_a_trial() -> None:
    model = TimeModel(MINILM, timed(World(), [DEFAULT]))
    once, thrice = model.predict(DEFAULT), model.predict(DEFAULT.with_values(epochs=3.0))
    assert once is not None and thrice is not None
    steps = World().seconds(DEFAULT) - model.overhead
    assert thrice.value - once.value == pytest.approx(2 * steps, rel=0.1)
    assert TimeModel(MINILM).predict(DEFAULT) is None


def test_a_timeout_teaches_that_it_takes_longer() -> None:
    known = timed(World(), shuffled(5)[:8])
    before = TimeModel(MINILM, known).predict(HUGE)
    assert before is not None
    late = Timed(HUGE, 4 * before.value, None)
    after = TimeModel(MINILM, [*known, late]).predict(HUGE)
    assert after is not None
    assert after.value > 1.5 * before.value


def test_only_what_is_clearly_too_slow_is_skipped(study: Study) -> None:
    world = World()
    history = [world.trial(n, s) for n, s in enumerate([DEFAULT, *shuffled(6)[:12]])]
    took = world.seconds(DEFAULT)
    limited = study_of(study, Limits(minutes=took / 60))
    feasibility = FeasibilityFilter(limited, HOST, MINILM)
    assert feasibility.check(DEFAULT.with_values(learning_rate=1e-4), history) is None
    verdict = feasibility.check(DEFAULT.with_values(epochs=9.0), history)
    assert verdict is not None
    assert "predicted to take" in verdict.reason


def test_a_quicker_strategy_is_like_the_one_that_takes_too_long() -> None:
    def seconds(strategy: Strategy) -> float:
        return 10.0 if strategy["pruning_ratio"] == 0.0 else 4.0

    found = quicker(SPACE, DEFAULT, {DEFAULT.key}, seconds, 5.0)
    assert found == DEFAULT.with_values(pruning_ratio=0.5)
    assert quicker(SPACE, DEFAULT, {DEFAULT.key}, seconds, 3.0) is None


# ------------------------------------------------------------------------------ in the loop


def run(study: Study, store: SqlStore, world: World, directory: Path) -> list[Trial]:
    def evaluate(job: Job, report: Any) -> Outcome:
        return world.run(job.strategy, study.limits)[0]

    if study.name not in store.studies():
        store.create_study(study, {})
    feasibility = FeasibilityFilter(study, HOST, world.anatomy)
    make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST, directory=directory,
        observer=RecordingObserver(), feasibility=feasibility,
    ).run(evaluate)  # fmt: skip
    return [store.trial(study.name, t.number) for t in store.trials(study.name)]


def half_fits(study: Study, world: World, sampler: str) -> Study:
    small = replace(study_of(study, half(world)), budget=Budget(trials=12))
    return replace(small, sampler=replace(small.sampler, kind=sampler))


def test_the_loop_records_predictions_and_runs_no_skipped_trial(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    world = World()
    small = half_fits(study, world, "random")
    trials = run(small, store, world, tmp_path)
    left_out = [t for t in trials if t.failure == PREDICTIONS]
    ran = [t for t in trials if t.failure != PREDICTIONS]
    assert left_out and len(ran) == 12 == BudgetUsage(trials, None).trials
    assert all(not t.result.measurements for t in left_out)
    assert all("peak_memory_gib" in t.result.environment[PREDICTIONS] for t in trials)
    assert "seconds" in ran[-1].result.environment[PREDICTIONS]


def test_what_did_not_fit_is_proposed_again_when_the_limit_is_raised(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    world = World()
    small = half_fits(study, world, "grid")
    before = run(small, store, world, tmp_path)
    did_not_fit = {t.strategy.key for t in before if t.failure in (PREDICTIONS, "out_of_memory")}
    wide = replace(small, limits=NO_LIMITS, budget=Budget(trials=12 + len(did_not_fit)))
    after = run(wide, store, world, tmp_path)[len(before) :]
    assert did_not_fit and did_not_fit <= {t.strategy.key for t in after}
    assert {t.failure for t in after} == {None}
    completed = [t.strategy.key for t in [*before, *after] if t.state is State.COMPLETE]
    assert len(completed) == len(set(completed)), "what fitted is not run twice"


def test_a_trial_that_would_outlast_the_budget_gives_way_to_a_quicker_one(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    world, start = World(noise=0.0), datetime(2026, 1, 1, tzinfo=UTC)
    clock = [start]
    took = world.seconds(DEFAULT)
    timed_study = replace(
        study_of(study, NO_LIMITS), budget=Budget(minutes=1.6 * took / 60), start_with=()
    )
    began: list[Strategy] = []

    def evaluate(job: Job, report: Any) -> Outcome:
        began.append(job.strategy)
        outcome, seconds = world.run(job.strategy, NO_LIMITS)
        clock[0] += timedelta(seconds=seconds)
        return outcome if isinstance(outcome, Completed) else Completed(TrialResult())

    class Slow:
        def ask(self, history: Any) -> Strategy:
            return DEFAULT.with_values(epochs=5.0, learning_rate=1e-5 * (1 + len(history)))

    timed_store = open_store(f"sqlite:///{tmp_path}/c.db", clock=lambda: clock[0])
    timed_store.create_study(timed_study, {})
    feasibility = FeasibilityFilter(timed_study, HOST, world.anatomy)
    make_tuner(
        timed_study, timed_store, Slow(), InlineExecutor(), HOST, directory=tmp_path,
        observer=RecordingObserver(), feasibility=feasibility, clock=lambda: clock[0],
    ).run(evaluate)  # fmt: skip
    timed_store.close()
    assert began[0] == DEFAULT
    assert all(strategy["epochs"] == 1.0 for strategy in began)
