"""What every executor keeps to: derive a ``Test...`` class beside the fixtures it names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
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

FEW_SECONDS = Limits(memory_gib=1.0, minutes=0.6 / 60)


def go_on(job: Job, point: CurvePoint) -> str | None:
    return None


def run_jobs(
    executor: Executor, jobs: Iterable[Job], advise: ShouldStop = go_on
) -> list[tuple[int, Outcome]]:
    """Run the jobs and return (trial, outcome) in the order told."""
    left = iter(jobs)
    told: list[tuple[int, Outcome]] = []
    executor.run(
        lambda: next(left, None),
        evaluate,
        lambda job, outcome: told.append((job.trial, outcome)),
        advise,
    )
    return told


def run_job(executor: Executor, job: Job, advise: ShouldStop = go_on) -> Outcome:
    [(_, outcome)] = run_jobs(executor, [job], advise)
    return outcome


class ExecutorBasics:
    """What holds whoever runs the jobs. Fixture ``executor`` runs one at a time."""

    def test_is_an_executor(self, executor: Executor) -> None:
        assert isinstance(executor, Executor)

    def test_tells_every_job_once_in_order(self, executor: Executor, tmp_path: Path) -> None:
        told = run_jobs(executor, [make_job(tmp_path, n) for n in range(4)])
        assert [number for number, _ in told] == [0, 1, 2, 3]
        assert all(isinstance(outcome, Completed) for _, outcome in told)

    def test_returns_when_there_is_nothing_to_do(self, executor: Executor) -> None:
        assert run_jobs(executor, []) == []

    def test_advises_at_rungs(self, executor: Executor, tmp_path: Path) -> None:
        def advise(job: Job, point: CurvePoint) -> str | None:
            return f"dominated at step {point.step}" if point.step == 4 else None

        outcome = run_job(executor, make_job(tmp_path, do="train"), advise)
        assert outcome == replace(outcome, reason="dominated at step 4")
        assert isinstance(outcome, Pruned)
        assert [point.step for point in outcome.result.curve] == [1, 2, 3, 4]

    def test_a_reason_between_rungs_stops_nothing(self, executor: Executor, tmp_path: Path) -> None:
        def advise(job: Job, point: CurvePoint) -> str | None:
            return None if point.metrics else "too early to say"

        assert isinstance(run_job(executor, make_job(tmp_path, do="train"), advise), Completed)

    def test_an_error_of_the_driver_comes_through(self, executor: Executor, tmp_path: Path) -> None:
        def tell(job: Job, outcome: Outcome) -> None:
            raise DataError("the disk is full")

        jobs = iter([make_job(tmp_path)])
        with pytest.raises(DataError, match="disk is full"):
            executor.run(lambda: next(jobs, None), evaluate, tell, go_on)
        assert isinstance(run_job(executor, make_job(tmp_path, 1)), Completed)

    def test_call_returns_what_the_function_returns(self, executor: Executor) -> None:
        assert executor.call(add, 40, right=2) == 42

    def test_call_raises_an_error_whole(self, executor: Executor) -> None:
        with pytest.raises(DataError) as caught:
            executor.call(raise_data_error)
        assert str(caught.value) == "no column 'text'"
        assert caught.value.hint == "set task.columns.text"

    def test_closes_twice(self, executor: Executor) -> None:
        executor.close()
        executor.close()


class ExecutorContract(ExecutorBasics):
    """What holds for those that run jobs in processes. Fixture ``pair`` runs two at once."""

    def test_runs_every_job_in_a_process_of_its_own(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        told = run_jobs(executor, [make_job(tmp_path, n) for n in range(3)])
        assert len({outcome.result.environment["pid"] for _, outcome in told}) == 3

    @pytest.mark.parametrize(
        ("do", "outcome_type", "kind", "said"),
        [
            ("exhaust", Infeasible, "out_of_memory", "the device is full"),
            ("run_out_of_memory", Infeasible, "out_of_memory", "MemoryError"),
            ("diverge", Infeasible, "nan_loss", "nan at step 3"),
            ("refuse", Infeasible, "unsupported", "no such kernel"),
            ("give_in", Pruned, None, "seen enough"),
            ("fail", Failed, "error", "KeyError: 'no such thing'"),
            ("lose_connection", Failed, "error", "ConnectionError: a mirror is down"),
            ("return_the_unpicklable", Failed, "error", "pickle"),
        ],
    )
    def test_exceptions_become_outcomes(
        self,
        executor: Executor,
        tmp_path: Path,
        do: str,
        outcome_type: type[Outcome],
        kind: str | None,
        said: str,
    ) -> None:
        outcome = run_job(executor, make_job(tmp_path, do=do))
        assert isinstance(outcome, outcome_type)
        assert getattr(outcome, "kind", None) == kind
        assert not isinstance(outcome, Completed)
        assert said in outcome.reason

    def test_an_error_names_its_place_and_its_log(self, executor: Executor, tmp_path: Path) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="fail"))
        assert isinstance(outcome, Failed)
        assert "executor_jobs.py:" in outcome.reason
        assert outcome.result.log is not None
        assert outcome.result.log in outcome.reason
        assert "Traceback" in Path(outcome.result.log).read_text()

    @pytest.mark.parametrize(("do", "said"), [("die", "SIGKILL"), ("leave", "code 3")])
    def test_a_crash_is_an_outcome_and_the_search_goes_on(
        self, executor: Executor, tmp_path: Path, do: str, said: str
    ) -> None:
        (_, crashed), (_, after) = run_jobs(
            executor, [make_job(tmp_path, 0, do=do), make_job(tmp_path, 1)]
        )
        assert isinstance(crashed, Failed)
        assert crashed.failure == FailureReason.CRASH
        assert said in crashed.reason
        assert isinstance(after, Completed)

    def test_what_was_reported_before_a_crash_is_kept(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="die"))
        assert [point.step for point in outcome.result.curve] == [1, 2]

    def test_ends_a_job_at_its_time_limit(self, executor: Executor, tmp_path: Path) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="hang", limits=FEW_SECONDS))
        assert isinstance(outcome, Infeasible)
        assert outcome.failure == FailureReason.TIMEOUT
        assert len(outcome.result.curve) == 1

    def test_ends_a_job_that_grows_beyond_its_memory(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="grow", limits=Limits(0.25, 1.0)))
        assert isinstance(outcome, Infeasible)
        assert outcome.failure == FailureReason.OUT_OF_MEMORY
        assert "0.25 GiB" in outcome.reason
        assert max(held for _, held in outcome.result.memory) > 0.25

    def test_ends_a_job_that_asks_for_too_much_at_once(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="grab", limits=Limits(0.25, 1.0)))
        assert isinstance(outcome, Infeasible)
        assert outcome.failure == FailureReason.OUT_OF_MEMORY

    def test_output_goes_to_the_log(self, executor: Executor, tmp_path: Path) -> None:
        outcome = run_job(executor, make_job(tmp_path, do="speak"))
        assert outcome.result.log is not None
        log = Path(outcome.result.log).read_text()
        assert {"spoken to stdout", "spoken to stderr", "spoken by a child"} <= set(log.split("\n"))

    def test_runs_two_jobs_at_once_on_cores_of_their_own(
        self, pair: Executor, tmp_path: Path
    ) -> None:
        told = run_jobs(pair, [make_job(tmp_path, n, do="meet") for n in (0, 1)])
        assert all(isinstance(outcome, Completed) for _, outcome in told)
        one, two = (set(outcome.result.environment["cores"]) for _, outcome in told)
        assert not one & two

    def test_jobs_on_one_gpu_run_one_after_the_other(self, pair: Executor, tmp_path: Path) -> None:
        on_gpu = Resources(devices=("cuda:0",))
        jobs = [make_job(tmp_path, n, do="wait_a_moment", resources=on_gpu) for n in (0, 1)]
        (_, first), (_, second) = run_jobs(pair, jobs)
        assert second.result.environment["began"] >= first.result.environment["ended"]

    def test_stop_ends_running_jobs_and_starts_no_more(
        self, pair: Executor, tmp_path: Path
    ) -> None:
        asked: list[int] = []
        told: list[Outcome] = []
        reached = threading.Semaphore(0)

        def ask() -> Job:
            asked.append(len(asked))
            return make_job(tmp_path, asked[-1], do="hang")

        def advise(job: Job, point: CurvePoint) -> None:
            reached.release()

        def stop_when_both_run() -> None:
            reached.acquire()
            reached.acquire()
            pair.stop()

        stopper = threading.Thread(target=stop_when_both_run)
        stopper.start()
        pair.run(ask, evaluate, lambda job, outcome: told.append(outcome), advise)
        stopper.join()
        assert asked == [0, 1]
        assert [type(outcome) for outcome in told] == [Interrupted, Interrupted]

    def test_calls_run_in_workers(self, executor: Executor) -> None:
        assert executor.call(worker_id) != worker_id()

    @pytest.mark.parametrize(
        ("function", "said"),
        [(raise_zero_division, "ZeroDivisionError"), (kill_self, "ended in its worker")],
    )
    def test_call_translates_what_is_not_ours(
        self, executor: Executor, function: Callable[[], object], said: str
    ) -> None:
        with pytest.raises(ExecutionError, match=said):
            executor.call(function)
