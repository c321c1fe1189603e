"""The replay executor: outcomes, simulated durations, and several simulated workers."""

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
from autotune.spec import load
from autotune.store import open_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.execution.synthetic_benchmark import HOST, SPEC, synthetic_benchmark
from tests.tuner.small_study import RecordingObserver, formula

TRIAL_SECONDS = 9.75
"""Seconds of a recorded trial without pruning."""


@pytest.fixture(scope="module")
def benchmark() -> TabularBenchmark:
    return synthetic_benchmark()


def job(strategy: Strategy, number: int = 0, **fields: object) -> Job:
    values: dict[str, object] = {
        "study": "hills", "trial": number, "strategy": strategy, "task": Task(), "seed": 0,
        "resources": Resources(), "limits": Limits(), "directory": "",
    }  # fmt: skip
    return Job(**{**values, **fields})  # type: ignore[arg-type]


def never_stop(job: Job, point: CurvePoint) -> str | None:
    return None


def run_jobs(
    executor: ReplayExecutor, jobs: Sequence[Job], should_stop: ShouldStop = never_stop
) -> list[tuple[int, Outcome, float]]:
    """(trial, outcome, simulated second) of each job in the order in which they end."""
    queue = iter(jobs)
    ended: list[tuple[int, Outcome, float]] = []
    executor.run(
        lambda: next(queue, None),
        formula,
        lambda job, outcome: ended.append((job.trial, outcome, executor.clock.seconds)),
        should_stop,
    )
    return ended


def run(
    benchmark: TabularBenchmark, should_stop: ShouldStop = never_stop, **fields: object
) -> tuple[Outcome, float]:
    """Run one job with the default strategy: its outcome and its simulated seconds."""
    executor = ReplayExecutor(benchmark)
    [(_, outcome, seconds)] = run_jobs(
        executor, [job(benchmark.records[0].strategy, **fields)], should_stop
    )
    return outcome, seconds


def test_implements_executor(benchmark: TabularBenchmark) -> None:
    assert isinstance(ReplayExecutor(benchmark), Executor)


def test_complete_trial_is_as_recorded(benchmark: TabularBenchmark) -> None:
    outcome, seconds = run(benchmark)
    assert isinstance(outcome, Completed)
    assert outcome.result.measurements == benchmark.records[0].measurements
    assert seconds == pytest.approx(TRIAL_SECONDS)


@pytest.mark.parametrize(
    ("phases", "seconds", "metric"),
    [
        # Setup takes 1 s. Training takes twice the seconds of the curve: 1.7 s until three windows.
        ((Phase.PROFILE,), 1.0 + 2 * 1.7 + 0.5, "train_samples_per_second"),
        ((Phase.TRAIN,), TRIAL_SECONDS - 0.5, "accuracy"),
        ((), 0.0, None),
    ],
)
def test_job_takes_the_time_of_its_phases(
    benchmark: TabularBenchmark, phases: tuple[Phase, ...], seconds: float, metric: str | None
) -> None:
    outcome, elapsed = run(benchmark, phases=phases)
    assert isinstance(outcome, Completed)
    assert elapsed == pytest.approx(seconds)
    names = {"train_samples_per_second", "accuracy"} & outcome.result.measurements.keys()
    assert names == ({metric} if metric else set())


def test_profile_phase_reports_before_later_rungs(benchmark: TabularBenchmark) -> None:
    points: list[CurvePoint] = []

    def collect(job: Job, point: CurvePoint) -> None:
        points.append(point)

    outcome, _ = run(benchmark, collect)
    rungs = [sorted(point.metrics) for point in points if point.metrics]
    assert [("accuracy" in names, "peak_memory_gib" in names) for names in rungs] == [
        (True, False), (False, True), (True, False),
    ]  # fmt: skip
    assert list(outcome.result.curve) == points
    assert [point.seconds for point in points] == sorted(point.seconds for point in points)


def test_stopped_trial_costs_its_seconds_until_then(benchmark: TabularBenchmark) -> None:
    def after_profile_phase(job: Job, point: CurvePoint) -> str | None:
        return "too slow" if "train_samples_per_second" in point.metrics else None

    outcome, seconds = run(benchmark, after_profile_phase)
    assert isinstance(outcome, Pruned)
    assert outcome.reason == "too slow"
    assert outcome.result.measurements.keys() >= {"train_samples_per_second"}
    assert "accuracy" not in outcome.result.measurements
    assert seconds < TRIAL_SECONDS / 2


def test_reason_between_rungs_does_not_stop(benchmark: TabularBenchmark) -> None:
    outcome, _ = run(benchmark, lambda job, point: None if point.metrics else "too early")
    assert isinstance(outcome, Completed)


def test_limits_apply(benchmark: TabularBenchmark) -> None:
    slow, seconds = run(benchmark, limits=Limits(minutes=0.1))
    assert isinstance(slow, Infeasible)
    assert (slow.failure, seconds) == ("timeout", pytest.approx(6.0))
    large, seconds = run(benchmark, limits=Limits(memory_gib=1.5))
    assert isinstance(large, Infeasible)
    assert (large.failure, seconds) == ("out_of_memory", pytest.approx(1.0))


def test_failure_is_replayed(benchmark: TabularBenchmark) -> None:
    failed = replace(
        benchmark.records[0],
        state=State.INFEASIBLE,
        failure=FailureReason.NAN_LOSS,
        reason="nan",
        measurements={},
    )
    outcome, seconds = run(replace(benchmark, records=(failed,)))
    assert isinstance(outcome, Infeasible)
    assert (outcome.failure, outcome.reason, seconds) == (
        "nan_loss",
        "nan",
        pytest.approx(TRIAL_SECONDS),
    )


@pytest.mark.parametrize("change", [{"seed": 1}, {"strategy": "threads"}])
def test_unrecorded_strategy_is_unsupported(
    benchmark: TabularBenchmark, change: dict[str, object]
) -> None:
    if "strategy" in change:
        change = {"strategy": benchmark.records[0].strategy.with_values(threads=7)}
    fields = {"strategy": benchmark.records[0].strategy, **change}
    [(_, outcome, seconds)] = run_jobs(ReplayExecutor(benchmark), [job(**fields)])  # type: ignore[arg-type]
    assert isinstance(outcome, Infeasible)
    assert (outcome.failure, seconds) == ("unsupported", 0.0)


def test_lever_newer_than_the_recording_is_ignored(benchmark: TabularBenchmark) -> None:
    strategy = benchmark.records[0].strategy
    assert benchmark.find(strategy.with_values(new_lever=1), 0) == benchmark.records[0]


def test_two_workers_end_jobs_in_order_of_time(benchmark: TabularBenchmark) -> None:
    slow = benchmark.records[0].strategy
    fast = slow.with_values(pruning_ratio=0.5, learning_rate=1e-3)
    executor = ReplayExecutor(benchmark, workers=2)
    ended = run_jobs(executor, [job(slow, 0), job(fast, 1), job(fast, 2)])
    assert [(number, seconds) for number, _, seconds in ended] == [
        (1, pytest.approx(5.75)), (0, pytest.approx(TRIAL_SECONDS)), (2, pytest.approx(11.5)),
    ]  # fmt: skip


def test_stop_interrupts_running_jobs(benchmark: TabularBenchmark) -> None:
    executor = ReplayExecutor(benchmark, workers=2)
    strategy = benchmark.records[0].strategy

    def stop(job: Job, point: CurvePoint) -> None:
        executor.stop()

    ended = run_jobs(executor, [job(strategy, number) for number in range(5)], stop)
    assert sorted(number for number, _, _ in ended) == [0, 1]
    assert all(isinstance(outcome, Interrupted) for _, outcome, _ in ended)


def test_search_runs_in_simulated_time(benchmark: TabularBenchmark, tmp_path: Path) -> None:
    """Trials have their recorded duration, and a budget in minutes counts it."""
    study = load(SPEC, host=HOST, overrides=["budget={minutes: 1}"]).study
    trials = search(replace(study, sharing=False, stopping="none"), benchmark, tmp_path)
    assert trials[0].metrics["accuracy"] == benchmark.records[0].measurements["accuracy"].value
    assert all(trial.state is State.COMPLETE for trial in trials)
    seconds = sum(trial.seconds or 0.0 for trial in trials)
    assert 45 < seconds <= 70


def search(study: Study, benchmark: TabularBenchmark, folder: Path) -> Sequence[Trial]:
    executor = ReplayExecutor(benchmark)
    store = open_store(f"sqlite:///{folder}/replay.db", clock=executor.clock)
    store.create_study(study, {})
    tuner = make_tuner(
        study, store, make_sampler(study), executor, HOST,
        directory=folder, observer=RecordingObserver(), clock=executor.clock,
    )  # fmt: skip
    tuner.run(formula)
    trials = store.trials(study.name)
    store.close()
    return trials


def test_written_benchmark_is_read_back(benchmark: TabularBenchmark, tmp_path: Path) -> None:
    path = tmp_path / "hills.parquet"
    landscapes.write(benchmark, path)
    copy = landscapes.read(path)
    assert copy.host == HOST
    assert set(copy.levers) == {"batch_size", "attention", "pruning_ratio", "learning_rate"}
    for actual, expected in zip(copy.records, benchmark.records, strict=True):
        values = {name: (m.value, m.ci95, m.n) for name, m in actual.measurements.items()}
        assert values == {n: (m.value, m.ci95, m.n) for n, m in expected.measurements.items()}
        assert replace(actual, measurements={}) == replace(expected, measurements={})


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no landscape"):
        landscapes.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match="Parquet"):
        landscapes.read(tmp_path / "text.parquet")


def test_profile_phase_has_the_windows_of_a_real_trial() -> None:
    from autotune.trial import profiling, training

    assert events.PROFILE_WINDOWS == profiling.MIN_STEADY_WINDOWS
    assert events.PROFILE_WINDOW_SECONDS == training.WINDOW_SECONDS


class TestReplayExecutor(ExecutorBasics):
    """The part of the contract that needs no processes, over trials made up for it."""

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
