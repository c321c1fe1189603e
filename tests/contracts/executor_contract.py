"""The contract of every executor: derive a ``Test...`` class and define the fixtures it uses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.executor_jobs import (
    add,
    evaluate,
    kill_self,
    make_job,
    raise_data_error,
    raise_zero_division,
    worker_id,
)

from autotune.domain import (
    Completed,
    CurvePoint,
    Failed,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    Limits,
    Outcome,
    Pruned,
    Resources,
)
from autotune.errors import DataError, ExecutionError
from autotune.ports import Executor, ShouldStop

FEW_SECONDS = Limits(memory_gib=1.0, minutes=3 / 60)
EXCEPTIONS: Sequence[tuple[str, type[Outcome], str | None, str]] = (
    ("fail", Failed, "error", "KeyError: 'no such thing'"),
    ("exhaust", Infeasible, "out_of_memory", "the device is full"),
    ("run_out_of_memory", Infeasible, "out_of_memory", "MemoryError"),
    ("diverge", Infeasible, "nan_loss", "nan at step 3"),
    ("refuse", Infeasible, "unsupported", "no such kernel"),
    ("give_in", Pruned, None, "seen enough"),
    ("lose_connection", Failed, "error", "ConnectionError: a mirror is down"),
    ("return_the_unpicklable", Failed, "error", "pickle"),
)
"""Actions that raise, with the type of their outcome, its failure, and a part of its reason."""


def never_stop(job: Job, point: CurvePoint) -> str | None:
    return None


def run_jobs(
    executor: Executor, jobs: Iterable[Job], should_stop: ShouldStop = never_stop
) -> list[tuple[int, Outcome]]:
    """Run the jobs and return (trial, outcome) in the order in which they end."""
    queue = iter(jobs)
    ended: list[tuple[int, Outcome]] = []
    executor.run(
        lambda: next(queue, None),
        evaluate,
        lambda job, outcome: ended.append((job.trial, outcome)),
        should_stop,
    )
    return ended


def run_job(executor: Executor, job: Job, should_stop: ShouldStop = never_stop) -> Outcome:
    [(_, outcome)] = run_jobs(executor, [job], should_stop)
    return outcome


def run_actions(
    executor: Executor, directory: Path, *actions: str, **fields: object
) -> list[Outcome]:
    """Run a job for each of ``actions``, one after the other in one run, which takes seconds to
    start on a cluster."""
    jobs = [make_job(directory, n, do=do, **fields) for n, do in enumerate(actions)]
    ended = run_jobs(executor, jobs)
    assert [number for number, _ in ended] == [*range(len(jobs))]
    return [outcome for _, outcome in ended]


class ExecutorBasics:
    """The contract of all executors. Fixture ``executor`` runs one job at a time."""

    def test_implements_executor(self, executor: Executor) -> None:
        assert isinstance(executor, Executor)

    def test_tells_every_job_once_in_order(self, executor: Executor, tmp_path: Path) -> None:
        ended = run_jobs(executor, [make_job(tmp_path, n) for n in range(4)])
        assert [number for number, _ in ended] == [0, 1, 2, 3]
        assert all(isinstance(outcome, Completed) for _, outcome in ended)

    def test_returns_without_jobs(self, executor: Executor) -> None:
        assert run_jobs(executor, []) == []

    def test_asks_for_advice_at_rungs(self, executor: Executor, tmp_path: Path) -> None:
        def should_stop(job: Job, point: CurvePoint) -> str | None:
            return f"dominated at step {point.step}" if point.step == 4 else None

        outcome = run_job(executor, make_job(tmp_path, do="train"), should_stop)
        assert outcome == replace(outcome, reason="dominated at step 4")
        assert isinstance(outcome, Pruned)
        assert [point.step for point in outcome.result.curve] == [1, 2, 3, 4]

    def test_reason_between_rungs_does_not_stop(self, executor: Executor, tmp_path: Path) -> None:
        def should_stop(job: Job, point: CurvePoint) -> str | None:
            return None if point.metrics else "too early to say"

        assert isinstance(run_job(executor, make_job(tmp_path, do="train"), should_stop), Completed)

    def test_error_of_the_driver_is_raised(self, executor: Executor, tmp_path: Path) -> None:
        def tell(job: Job, outcome: Outcome) -> None:
            raise DataError("the disk is full")

        jobs = iter([make_job(tmp_path)])
        with pytest.raises(DataError, match="disk is full"):
            executor.run(lambda: next(jobs, None), evaluate, tell, never_stop)
        assert isinstance(run_job(executor, make_job(tmp_path, 1)), Completed)

    def test_call_returns_the_result(self, executor: Executor) -> None:
        assert executor.call(add, 40, right=2) == 42

    def test_call_raises_errors_with_hints(self, executor: Executor) -> None:
        with pytest.raises(DataError) as caught:
            executor.call(raise_data_error)
        assert str(caught.value) == "no column 'text'"
        assert caught.value.hint == "set task.columns.text"

    def test_closes_twice(self, executor: Executor) -> None:
        executor.close()
        executor.close()


class ExecutorContract(ExecutorBasics):
    """The contract of executors with worker processes. Fixture ``pair`` runs two jobs at once."""

    def test_runs_each_job_in_its_own_process(self, executor: Executor, tmp_path: Path) -> None:
        ended = run_jobs(executor, [make_job(tmp_path, n) for n in range(3)])
        assert len({outcome.result.environment["pid"] for _, outcome in ended}) == 3

    def test_exceptions_become_outcomes(self, executor: Executor, tmp_path: Path) -> None:
        outcomes = run_actions(executor, tmp_path, *(do for do, *_ in EXCEPTIONS))
        for outcome, (_, outcome_type, failure, message) in zip(outcomes, EXCEPTIONS, strict=True):
            assert isinstance(outcome, outcome_type) and not isinstance(outcome, Completed)
            assert getattr(outcome, "failure", None) == failure
            assert message in outcome.reason
        error = outcomes[0]
        assert isinstance(error, Failed) and "executor_jobs.py:" in error.reason
        assert error.result.log is not None and error.result.log in error.reason
        assert "Traceback" in Path(error.result.log).read_text()

    def test_crash_is_an_outcome_and_later_jobs_run(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        """What a job reported before it crashed is kept."""
        killed, after, ended, last = run_actions(
            executor, tmp_path, "die", "nothing", "leave", "nothing"
        )
        for crashed, message in ((killed, "SIGKILL"), (ended, "code 3")):
            assert isinstance(crashed, Failed)
            assert crashed.failure == FailureReason.CRASH
            assert message in crashed.reason
        assert [point.step for point in killed.result.curve] == [1, 2]
        assert isinstance(after, Completed) and isinstance(last, Completed)

    def test_ends_a_job_at_its_time_limit(self, executor: Executor, tmp_path: Path) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="hang", limits=FEW_SECONDS))
        assert isinstance(outcome, Infeasible)
        assert outcome.failure == FailureReason.TIMEOUT
        assert len(outcome.result.curve) == 1

    def test_ends_jobs_that_exceed_their_memory_limit(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        """By many small allocations, or by one huge one."""
        limits = Limits(0.25, 4.0)
        grown, huge = run_actions(executor, tmp_path, "grow", "grab", limits=limits)
        for outcome in (grown, huge):
            assert isinstance(outcome, Infeasible)
            assert outcome.failure == FailureReason.OUT_OF_MEMORY
        assert isinstance(grown, Infeasible) and "0.25 GiB" in grown.reason
        assert max(gib for _, gib in grown.result.memory) > 0.25

    def test_output_goes_to_the_log(self, executor: Executor, tmp_path: Path) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="speak"))
        assert outcome.result.log is not None
        log = Path(outcome.result.log).read_text()
        assert {"spoken to stdout", "spoken to stderr", "spoken by a child"} <= set(log.split("\n"))

    def test_concurrent_jobs_have_disjoint_cores(self, pair: Executor, tmp_path: Path) -> None:
        ended = run_jobs(pair, [make_job(tmp_path, n, do="meet") for n in (0, 1)])
        assert all(isinstance(outcome, Completed) for _, outcome in ended)
        one, two = (set(outcome.result.environment["cores"]) for _, outcome in ended)
        assert not one & two

    def test_jobs_on_one_gpu_run_in_sequence(self, pair: Executor, tmp_path: Path) -> None:
        on_gpu = Resources(devices=("cuda:0",))
        jobs = [make_job(tmp_path, n, do="wait_a_moment", resources=on_gpu) for n in (0, 1)]
        (_, first), (_, second) = run_jobs(pair, jobs)
        assert second.result.environment["began"] >= first.result.environment["ended"]

    def test_stop_ends_running_jobs_and_starts_no_more(
        self, pair: Executor, tmp_path: Path
    ) -> None:
        numbers: list[int] = []
        outcomes: list[Outcome] = []
        running = threading.Semaphore(0)

        def ask() -> Job:
            numbers.append(len(numbers))
            return make_job(tmp_path, numbers[-1], do="hang")

        def should_stop(job: Job, point: CurvePoint) -> None:
            running.release()

        def stop_when_both_run() -> None:
            running.acquire()
            running.acquire()
            pair.stop()

        stopper = threading.Thread(target=stop_when_both_run)
        stopper.start()
        pair.run(ask, evaluate, lambda job, outcome: outcomes.append(outcome), should_stop)
        stopper.join()
        assert numbers == [0, 1]
        assert [type(outcome) for outcome in outcomes] == [Interrupted, Interrupted]

    def test_calls_run_in_workers(self, executor: Executor) -> None:
        assert executor.call(worker_id) != worker_id()

    @pytest.mark.parametrize(
        ("function", "message"),
        [(raise_zero_division, "ZeroDivisionError"), (kill_self, "ended in its worker")],
    )
    def test_call_converts_foreign_exceptions(
        self, executor: Executor, function: Callable[[], object], message: str
    ) -> None:
        with pytest.raises(ExecutionError, match=message):
            executor.call(function)
