"""The replay executor: what is answered, how long it takes, and several simulated workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.executor_contract import ExecutorBasics

from autotune.domain import (
    Completed,
    CurvePoint,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    Limits,
    Outcome,
    Phase,
    Pruned,
    Resources,
    State,
    Strategy,
    Study,
    Task,
    Trial,
)
from autotune.errors import DataError, NotFoundError
from autotune.execution.replay import benchmark as landscapes
from autotune.execution.replay import events
from autotune.execution.replay.benchmark import Record, TabularBenchmark
from autotune.execution.replay.executor import ReplayExecutor
from autotune.ports import Executor, ShouldStop
from autotune.search.samplers.optuna import make_sampler
from autotune.search.tuner import Tuner
from autotune.spec import load
from autotune.store import open_store
from tests.execution.synthetic_benchmark import HOST, SPEC, landscape
from tests.search.small_study import SilentObserver, formula

WHOLE, SLOW = 9.75, 8.0
"""Seconds of a trial without pruning, and of its training."""


@pytest.fixture(scope="module")
def hills() -> TabularBenchmark:
    return landscape()


def job(strategy: Strategy, number: int = 0, **fields: object) -> Job:
    values: dict[str, object] = {
        "study": "hills", "trial": number, "strategy": strategy, "task": Task(), "seed": 0,
        "resources": Resources(), "limits": Limits(), "directory": "",
    }  # fmt: skip
    return Job(**{**values, **fields})  # type: ignore[arg-type]


def go_on(job: Job, point: CurvePoint) -> str | None:
    return None


def run_jobs(
    executor: ReplayExecutor, jobs: Sequence[Job], advise: ShouldStop = go_on
) -> list[tuple[int, Outcome, float]]:
    """(trial, outcome, simulated second) of each job in the order told."""
    left = iter(jobs)
    told: list[tuple[int, Outcome, float]] = []
    executor.run(
        lambda: next(left, None),
        formula,
        lambda job, outcome: told.append((job.trial, outcome, executor.clock.seconds)),
        advise,
    )
    return told


def run(
    hills: TabularBenchmark, advise: ShouldStop = go_on, **fields: object
) -> tuple[Outcome, float]:
    """One job for the default strategy: its outcome and how long it took."""
    executor = ReplayExecutor(hills)
    [(_, outcome, seconds)] = run_jobs(executor, [job(hills.records[0].strategy, **fields)], advise)
    return outcome, seconds


def test_it_is_an_executor(hills: TabularBenchmark) -> None:
    assert isinstance(ReplayExecutor(hills), Executor)


def test_a_whole_trial_is_what_was_recorded(hills: TabularBenchmark) -> None:
    outcome, seconds = run(hills)
    assert isinstance(outcome, Completed)
    assert outcome.result.measurements == hills.records[0].measurements
    assert seconds == pytest.approx(WHOLE)


@pytest.mark.parametrize(
    ("parts", "seconds", "measured"),
    [
        # ready in 1 s; training runs twice as long as its windows: 1.7 s until the probe has three
        ((Phase.PROFILE,), 1.0 + 2 * 1.7 + 0.5, "train_samples_per_second"),
        ((Phase.TRAIN,), WHOLE - 0.5, "accuracy"),
        ((), 0.0, None),
    ],
)
def test_half_a_trial_takes_the_time_of_that_half(
    hills: TabularBenchmark, parts: tuple[Phase, ...], seconds: float, measured: str | None
) -> None:
    outcome, taken = run(hills, measure=parts)
    assert isinstance(outcome, Completed)
    assert taken == pytest.approx(seconds)
    known = {"train_samples_per_second", "accuracy"} & outcome.result.measurements.keys()
    assert known == ({measured} if measured else set())


def test_the_probe_is_told_before_the_rungs_that_follow_it(hills: TabularBenchmark) -> None:
    told: list[CurvePoint] = []

    def listen(job: Job, point: CurvePoint) -> None:
        told.append(point)

    outcome, _ = run(hills, listen)
    rungs = [sorted(point.metrics) for point in told if point.metrics]
    assert [("accuracy" in names, "peak_memory_gib" in names) for names in rungs] == [
        (True, False), (False, True), (True, False),
    ]  # fmt: skip
    assert list(outcome.result.curve) == told
    assert [point.seconds for point in told] == sorted(point.seconds for point in told)


def test_a_trial_that_is_stopped_costs_what_it_took_so_far(hills: TabularBenchmark) -> None:
    def after_the_probe(job: Job, point: CurvePoint) -> str | None:
        return "too slow" if "train_samples_per_second" in point.metrics else None

    outcome, seconds = run(hills, after_the_probe)
    assert isinstance(outcome, Pruned)
    assert outcome.reason == "too slow"
    assert outcome.result.measurements.keys() >= {"train_samples_per_second"}
    assert "accuracy" not in outcome.result.measurements
    assert seconds < WHOLE / 2


def test_a_reason_between_rungs_stops_nothing(hills: TabularBenchmark) -> None:
    outcome, _ = run(hills, lambda job, point: None if point.metrics else "too early")
    assert isinstance(outcome, Completed)


def test_limits_are_kept(hills: TabularBenchmark) -> None:
    slow, seconds = run(hills, limits=Limits(minutes=0.1))
    assert isinstance(slow, Infeasible)
    assert (slow.failure, seconds) == ("timeout", pytest.approx(6.0))
    large, seconds = run(hills, limits=Limits(memory_gib=1.5))
    assert isinstance(large, Infeasible)
    assert (large.failure, seconds) == ("out_of_memory", pytest.approx(1.0))


def test_what_did_not_complete_ends_as_it_did(hills: TabularBenchmark) -> None:
    lost = replace(
        hills.records[0],
        state=State.INFEASIBLE,
        failure=FailureReason.NAN_LOSS,
        reason="nan",
        measurements={},
    )
    outcome, seconds = run(replace(hills, records=(lost,)))
    assert isinstance(outcome, Infeasible)
    assert (outcome.failure, outcome.reason, seconds) == ("nan_loss", "nan", pytest.approx(WHOLE))


@pytest.mark.parametrize("change", [{"seed": 1}, {"strategy": "threads"}])
def test_what_was_not_recorded_is_not_made_up(
    hills: TabularBenchmark, change: dict[str, object]
) -> None:
    if "strategy" in change:
        change = {"strategy": hills.records[0].strategy.with_values(threads=7)}
    fields = {"strategy": hills.records[0].strategy, **change}
    [(_, outcome, seconds)] = run_jobs(ReplayExecutor(hills), [job(**fields)])  # type: ignore[arg-type]
    assert isinstance(outcome, Infeasible)
    assert (outcome.failure, seconds) == ("unsupported", 0.0)


def test_a_lever_younger_than_the_recording_does_not_matter(hills: TabularBenchmark) -> None:
    strategy = hills.records[0].strategy
    assert hills.find(strategy.with_values(unheard_of=1), 0) == hills.records[0]


def test_two_workers_finish_in_order_of_time(hills: TabularBenchmark) -> None:
    slow = hills.records[0].strategy
    quick = slow.with_values(pruning_ratio=0.5, learning_rate=1e-3)
    executor = ReplayExecutor(hills, workers=2)
    told = run_jobs(executor, [job(slow, 0), job(quick, 1), job(quick, 2)])
    assert [(number, seconds) for number, _, seconds in told] == [
        (1, pytest.approx(5.75)), (0, pytest.approx(WHOLE)), (2, pytest.approx(11.5)),
    ]  # fmt: skip


def test_stop_interrupts_what_runs(hills: TabularBenchmark) -> None:
    executor = ReplayExecutor(hills, workers=2)
    strategy = hills.records[0].strategy

    def stop(job: Job, point: CurvePoint) -> None:
        executor.stop()

    told = run_jobs(executor, [job(strategy, number) for number in range(5)], stop)
    assert sorted(number for number, _, _ in told) == [0, 1]
    assert all(isinstance(outcome, Interrupted) for _, outcome, _ in told)


def test_a_search_runs_in_simulated_time(hills: TabularBenchmark, tmp_path: Path) -> None:
    """Trials take the recorded time, and a budget of minutes ends the search by it."""
    study = load(SPEC, host=HOST, overrides=["budget={minutes: 1}"]).study
    trials = search(replace(study, sharing=False, stopping="none"), hills, tmp_path)
    assert trials[0].metrics["accuracy"] == hills.records[0].measurements["accuracy"].value
    assert all(trial.state is State.COMPLETE for trial in trials)
    seconds = sum(trial.seconds or 0.0 for trial in trials)
    assert 45 < seconds <= 70


def search(study: Study, hills: TabularBenchmark, folder: Path) -> Sequence[Trial]:
    executor = ReplayExecutor(hills)
    store = open_store(f"sqlite:///{folder}/replay.db", clock=executor.clock)
    store.create_study(study, {})
    tuner = Tuner(
        study, store, make_sampler(study), executor, HOST,
        directory=folder, observer=SilentObserver(), now=executor.clock,
    )  # fmt: skip
    tuner.run(formula)
    trials = store.trials(study.name)
    store.close()
    return trials


def test_a_landscape_survives_its_file(hills: TabularBenchmark, tmp_path: Path) -> None:
    path = tmp_path / "hills.parquet"
    landscapes.write(hills, path)
    again = landscapes.read(path)
    assert again.host == HOST
    assert set(again.levers) == {"batch_size", "attention", "pruning_ratio", "learning_rate"}
    for there, here in zip(again.records, hills.records, strict=True):
        values = {name: (m.value, m.ci95, m.n) for name, m in there.measurements.items()}
        assert values == {n: (m.value, m.ci95, m.n) for n, m in here.measurements.items()}
        assert replace(there, measurements={}) == replace(here, measurements={})


def test_what_is_no_landscape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no landscape"):
        landscapes.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match="Parquet"):
        landscapes.read(tmp_path / "text.parquet")


def test_a_replayed_probe_is_as_long_as_a_real_one() -> None:
    from autotune.trial import profiling, training

    assert events.STEADY_WINDOWS == profiling.STEADY_WINDOWS
    assert events.WINDOW_SECONDS == training.WINDOW_SECONDS


class TestReplayExecutor(ExecutorBasics):
    """The part of the contract that needs no processes, over trials recorded for it."""

    @pytest.fixture
    def executor(self) -> ReplayExecutor:
        rungs = tuple(
            CurvePoint(
                step, 10, 8 * step, step / 10, 1.0, {"accuracy": 0.5} if step % 4 == 0 else {}
            )
            for step in range(1, 11)
        )
        records = (
            Record(Strategy({"do": do}), 0, "sampler", State.COMPLETE, 12.0, curve=rungs,
                   phases={"5 train": 10.0})
            for do in ("nothing", "train")
        )  # fmt: skip
        return ReplayExecutor(TabularBenchmark("contract", tuple(records), "", {}))
